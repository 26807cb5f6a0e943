"""Locks: one process at a time in a folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock


def folder_lock(folder: Path) -> FileLock:
    """Lock a folder by `<folder>/.lock`, as a context manager that waits while another process or thread holds it.

    The file stays; the operating system frees the lock when a process dies. Raises OSError where the folder
    is read-only.
    """
    return FileLock(folder / ".lock")
