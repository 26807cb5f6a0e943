"""Unfinished files and folders: held by a lock while their process lives, swept once it is dead."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common import ranks
from common.disk.faults import writing

UNFINISHED = ".saving_"  # begins the name of everything that is not complete
_LONGEST = 150  # bytes of a name that an unfinished one tells; file systems hold 255


def unfinished_name(path: Path) -> str:
    """The name of a file while this process writes it; the suffix stays, as some writers choose the format by it.

    It cannot be guessed, so that no link lies in wait under it.
    """
    return f"{UNFINISHED}{_short(path)}.{os.getpid()}_{secrets.token_hex(4)}{path.suffix}"


def lock_name(path: Path) -> str:
    """The name of a lock beside a path that one process writes; what a killed one leaves of it is swept, too."""
    return f"{UNFINISHED}{_short(path)}.lock{path.suffix}"


def _short(path: Path) -> str:
    return os.fsencode(path.stem)[:_LONGEST].decode(errors="ignore")


@contextmanager
def held(path: Path, *, flags: int = os.O_RDONLY) -> Iterator[None]:
    """Hold a file or folder as this process's own; the operating system lets go of it when the process dies.

    A file system without locks does not hold it, and `sweep` then finds no lock either and leaves it.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def unfinished_folder(parent: Path, *, of: Path | None = None) -> Iterator[Path]:
    """Give an empty folder below `parent` that is removed at the end of the block, or swept after a kill.

    of: the path whose content is made in it, as its name then tells. A full disk is told with it, else with `parent`.
    """
    prefix, suffix = (UNFINISHED, "") if of is None else (f"{UNFINISHED}{_short(of)}.", of.suffix)
    with (
        tempfile.TemporaryDirectory(prefix=prefix, suffix=suffix, dir=parent) as name,
        held(Path(name)),
        writing(of or parent, made_in=Path(name)),
    ):
        yield Path(name)


@contextmanager
def shared_folder(parent: Path) -> Iterator[Path]:
    """Give the ranks of a job one `unfinished_folder`, which is removed once all are through the block."""
    if not ranks.is_first():
        yield ranks.from_first(parent)
        ranks.wait_for_all()
        return
    parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(parent) as folder:
        yield ranks.from_first(folder)
        ranks.wait_for_all()


def sweep(folder: Path) -> list[Path]:
    """Remove what dead processes left unfinished anywhere below a folder; returns what was removed.

    Links are not followed, and what a living process holds stays, also one in another container of this machine.
    """
    removed = []
    for place, folders, files in os.walk(folder):
        left = [name for name in (*folders, *files) if name.startswith(UNFINISHED)]
        folders[:] = [name for name in folders if name not in left]
        removed += [path for name in left if _removed(path := Path(place, name))]
    return removed


def sweep_beside(path: Path) -> list[Path]:
    """Remove what dead processes left beside a path when they wrote it, as `sweep` does; returns what was removed."""
    name = re.compile(rf"{re.escape(UNFINISHED + _short(path))}\.[a-z0-9_]+{re.escape(path.suffix)}")
    left = [each for each in path.parent.glob(f"{UNFINISHED}*") if name.fullmatch(each.name)]
    return [each for each in left if _removed(each)]


def _removed(path: Path) -> bool:
    """Remove an unfinished file or folder that nobody holds; True where it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
