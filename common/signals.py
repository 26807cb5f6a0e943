"""Ctrl-C before a command handles it, SIGTERM as an interrupt, and handlers that libraries would replace."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # exit code of a process that was interrupted


@contextmanager
def interrupted_in_one_line() -> Iterator[None]:
    """End the process with one line at Ctrl-C, also while a command is still imported: PyTorch takes seconds."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM while the block lasts, so that it cleans up as after Ctrl-C.

    Only where SIGTERM would end the process at once, and in the main thread, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Keep SIGTERM's handler through an import that replaces it, as pycolmap's does by a trace of the stack."""
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is not None:
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
