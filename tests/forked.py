"""Functions run in a forked child with limits, and what came of them: the packages are imported once, in the parent."""

from __future__ import annotations

import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import user_errors

READ, REFUSED, TRACEBACK, CRASH, HANG, MEMORY = "read", "refused", "traceback", "crash", "hang", "memory"
OUTCOMES = (READ, REFUSED, TRACEBACK, CRASH, HANG, MEMORY)
_OUT_OF_MEMORY = ("MemoryError", "Unable to allocate", "not enough memory", "Cannot allocate memory", "bad_alloc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a child ended, and its line or traceback; of one that read, the text that its work gave."""

    kind: str  # of OUTCOMES
    text: str


def forked(work: Callable[[], object], *, seconds: float = 10.0, extra_bytes: int | None = None) -> Outcome:
    """Run work in a child: how it ended. extra_bytes: address space that it may take beyond what it begins with."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(work, writer, extra_bytes)
    os.close(writer)
    try:
        text = _received(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
    if text is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if text is None:
        return Outcome(kind=HANG, text=f"longer than {seconds:g} s")
    kind, _, told = text.partition("\n")
    if os.WIFSIGNALED(status) or kind not in OUTCOMES:
        ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {status}"
        return Outcome(kind=CRASH, text=ended)
    return Outcome(kind=kind, text=told)


def _work(work: Callable[[], object], writer: int, extra_bytes: int | None) -> None:
    """The child's life: it never returns."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    if extra_bytes is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        given = work()
        told = f"{READ}\n{given if isinstance(given, str) else ''}"
    except user_errors() as error:
        text = str(error)
        kind = TRACEBACK if "\n" in text.strip() else MEMORY if _wants_memory(text) else REFUSED
        told = f"{kind}\n{text}"
    except BaseException as error:
        kind = MEMORY if isinstance(error, MemoryError) or _wants_memory(str(error)) else TRACEBACK
        told = f"{kind}\n{traceback.format_exc()}"
    os.write(writer, told.encode(errors="replace")[:60_000])
    os._exit(0)


def _wants_memory(text: str) -> bool:
    return any(word in text for word in _OUT_OF_MEMORY)


def _received(reader: int, deadline: float) -> str | None:
    """All that a child says before it ends; None where it does not end in time."""
    said = b""
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        block = os.read(reader, 1 << 16)
        if not block:
            return said.decode(errors="replace")
        said += block
    return None
