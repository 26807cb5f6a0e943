"""Paths of strangers: names from files stay below the folder they belong to, and no link or pipe stands for a file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePath

from common.disk.faults import ToldError

LARGEST_TEXT = 1 << 28  # bytes of a JSON or settings file; the largest that are written have a few MB


class OutsideError(ToldError, ValueError):
    """A name that leads out of its folder, or a link in the place of an own folder; one line, what to do included."""


def below(folder: Path, name: object) -> Path:
    """Give `folder / name` for a name that a file holds; a link at its end is not followed.

    Raises OutsideError where the name is no relative path below the folder, or a link on the way leads out of it.
    """
    if not isinstance(name, str) or "\0" in name:
        raise OutsideError(f"{folder}: {name!r} is no name of a file below it; remove the file that holds this name")
    parts = PurePath(name).parts
    if not parts or ".." in parts or PurePath(name).is_absolute():
        raise OutsideError(f"{folder}: {name!r} leads out of it; remove the file that holds this name")
    path = folder / name
    try:
        inside = path.parent.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead to each other
        inside = False
    if not inside:
        raise OutsideError(f"{path}: leads out of {folder} by a link; put a folder in its place")
    return path


def own_folder(folder: Path, *names: str) -> Path:
    """Give a folder that is written to, below one that the user named; OutsideError where it or one between is a link.

    Nothing is made; a file in its place is left to `mkdir`.
    """
    path = folder
    for name in names:
        path = path / name
        if path.is_symlink():
            raise OutsideError(f"{path}: is a link to {os.readlink(path)}; put a folder in its place")
    return path


def not_followed(path: str, flags: int) -> int:
    """Open a file that is written to, as the `opener` of `open`; OSError where it is a link, a pipe or a device."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def regular(path: Path) -> Path:
    """Give back a path that leads to a file or folder, also by a link; OSError for a pipe or device."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise _not_regular(str(path))
    return path


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text; OSError where it is missing, a pipe, a device or larger than LARGEST_TEXT."""
    if regular(path).stat().st_size > LARGEST_TEXT:
        raise OSError(errno.EFBIG, f"larger than {LARGEST_TEXT >> 20} MiB, which no such file is", str(path))
    return path.read_text(encoding="utf-8")


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "a pipe or device stands in the place of a file; remove it", path)
