"""One process at a time in a cache folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `<folder>/.lock`; waits while another process holds it. The system frees it when a process dies.

    On Windows nothing is locked: start one process at a time there.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
