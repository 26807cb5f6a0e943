"""Standard streams that are closed or no longer read: the work goes on, and nothing is written into other files."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO


def fill_closed_streams() -> None:
    """Open /dev/null in the place of standard streams that the caller closed (`2>&-`).

    Else the next file that is opened gets their number, and messages of libraries are written into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            while (opened := os.open(os.devnull, os.O_RDWR)) < number:
                pass
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


@contextmanager
def kept_streams() -> Iterator[None]:
    """Go on where a reader of standard output or standard error has gone (`| head`): further lines go nowhere."""
    fill_closed_streams()
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stack.enter_context(_kept(name))
        yield


@contextmanager
def _kept(name: str) -> Iterator[None]:
    """Replace a stream of the process by one that outlives its reader; others, as of tests, stay."""
    stream: TextIO = getattr(sys, name)
    if stream is not getattr(sys, f"__{name}__") or not isinstance(stream, io.TextIOWrapper) or stream.isatty():
        yield
        return
    stream.flush()
    raw = _Unread(stream.fileno(), "w", closefd=False)
    patient = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=stream.line_buffering
    )
    setattr(sys, name, patient)
    try:
        yield
    finally:
        patient.flush()
        setattr(sys, name, stream)


class _Unread(io.FileIO):
    """A file whose reader may go: from then on it is /dev/null."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes
