"""Places that were recorded, in a tree that may have been moved or copied as a whole since."""

from __future__ import annotations

import os
from pathlib import Path


def way_from(folder: Path, path: Path) -> str:
    """The way from a folder to a path, which stays the same where both are moved together."""
    return os.path.relpath(path.absolute(), folder.absolute())


def along(folder: Path, way: str) -> Path:
    """The path that a way leads to from a folder."""
    return Path(os.path.normpath(folder.absolute() / way))


def place_now(recorded: Path, *, folder: Path, way: str) -> Path:
    """Where a recorded file or folder is: there, else along the way from a folder that was moved together with it.

    folder: where that folder is now. The recorded path where it is at neither place.
    """
    if recorded.exists():
        return recorded
    moved = along(folder, way)
    return moved if moved.exists() else recorded
