"""Locks: one process at a time in a folder, or at a file or folder that is written as a whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from common.disk.contained import not_followed
from common.disk.leftovers import lock_name

ONLY_ONE = ".training.lock"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # of a file system that has none: nobody keeps commands apart there


def folder_lock(folder: Path) -> FileLock:
    """Lock a folder by `<folder>/.lock`, as a context manager that waits while another process or thread holds it.

    The file stays; the operating system frees the lock when a process dies. Raises OSError where the folder
    is read-only, or something else than a file, also a link, stands in the place of `.lock`.
    """
    return _lock_of(folder / ".lock")


@contextmanager
def only_one(folder: Path, refusal: Exception) -> Iterator[None]:
    """Be the only one that writes to a folder while the block lasts; raises `refusal` where another process does.

    The folder is made where it is missing, and removed again where nothing came into it.
    """
    with _held(folder / ONLY_ONE, refusal):
        yield


@contextmanager
def only_writer(path: Path, refusal: Exception) -> Iterator[None]:
    """Be the only one that writes a file or folder while the block lasts; raises `refusal` where another process does.

    The lock lies beside it, so that the path can be replaced as a whole, and `sweep_beside` finds what a kill leaves.
    """
    with _held(path.absolute().with_name(lock_name(path.absolute())), refusal):
        yield


@contextmanager
def _held(path: Path, refusal: Exception) -> Iterator[None]:
    """Hold a lock whose file goes with it, and the folders that were made for it where nothing else came into them."""
    made = [each for each in path.absolute().parents if not each.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise refusal from None
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: another lock is then of a new file
        lock.release()
        with suppress(OSError):
            for each in made:
                each.rmdir()


def is_written_to(folder: Path) -> bool:
    """Tell whether a process is in a folder by `only_one`, or was killed there."""
    return (folder / ONLY_ONE).exists()


def _lock_of(path: Path) -> FileLock:
    """Lock by a file; OSError where something else than a file, also a link, stands in its place."""
    if os.path.lexists(path):
        os.close(not_followed(str(path), os.O_RDONLY))
    return FileLock(path)
