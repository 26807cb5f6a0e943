"""Locks: one process at a time in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock

from common.contained import not_followed


def folder_lock(folder: Path) -> FileLock:
    """Lock a folder by `<folder>/.lock`, as a context manager that waits while another process or thread holds it.

    The file stays; the operating system frees the lock when a process dies. Raises OSError where the folder
    is read-only, or something else than a file, also a link, stands in the place of `.lock`.
    """
    path = folder / ".lock"
    if os.path.lexists(path):
        os.close(not_followed(str(path), os.O_RDONLY))
    return FileLock(path)
