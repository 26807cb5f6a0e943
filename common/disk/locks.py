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
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of a file system that has none, such as some Lustre


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder by `<folder>/.lock` while the block lasts; wait while another process or thread holds it.

    The file stays; the operating system frees the lock when a process dies. Raises OSError where the folder
    is read-only, or something else than a file, also a link, stands in the place of `.lock`.
    """
    lock = _taken(folder / ".lock")
    try:
        yield
    finally:
        lock.release()


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = _taken(path, timeout=0)
        except Timeout:
            raise refusal from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held: another lock is then of a new file
            lock.release()
    finally:
        with suppress(OSError):
            for each in made:
                each.rmdir()


def is_written_to(folder: Path) -> bool:
    """Tell whether a process is in a folder by `only_one`, or was killed there."""
    return (folder / ONLY_ONE).exists()


def _taken(path: Path, *, timeout: float = -1) -> FileLock:
    """Take the lock of a file, which a file system without locks gives to everybody; release gives it back.

    timeout: seconds until Timeout is raised; below 0: never. OSError where the disk fails, and no file is left then, or
    where something else than a file, also a link, stands in its place.
    """
    is_there = os.path.lexists(path)
    if is_there:
        os.close(not_followed(str(path), os.O_RDONLY))
    lock = FileLock(path, timeout=timeout, fallback_to_soft=False)  # soft: a file that exists locks, for ever
    try:
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            if not is_there:
                with suppress(OSError):
                    path.unlink()
            error.filename = error.filename or str(path)
            raise
    return lock
