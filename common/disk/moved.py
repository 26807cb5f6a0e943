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
    """The present place of a recorded path: the same, else along the way from a folder that was moved with it.

    folder: where that folder is now. The recorded path, too, where nothing is at either.
    """
    if recorded.exists():
        return recorded
    moved = along(folder, way)
    return moved if moved.exists() else recorded
