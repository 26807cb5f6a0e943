"""Folders of trained models: the iteration to read, and what is nearest to a file that is missing."""

from __future__ import annotations

import re
from pathlib import Path

from common.text.suggestions import nearest
from experts.base import CheckpointError

_ITERATION = re.compile(r"^iteration_(\d+)$")


def find_iteration(folder: Path, iteration: int | None) -> tuple[int, Path]:
    """Number and path of `folder/point_cloud/iteration_<n>`: the asked one, or the highest for None.

    Raises CheckpointError listing the iterations that exist.
    """
    clouds = folder / "point_cloud"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; {_nearest(folder)}")
    if not clouds.is_dir():
        raise CheckpointError(
            f"{folder}: no folder point_cloud in it; {_nearest(clouds)}; give a trained model's folder"
        )
    iterations = {
        int(match.group(1)): entry
        for entry in clouds.iterdir()
        if (match := _ITERATION.match(entry.name)) and entry.is_dir()
    }
    if not iterations:
        raise CheckpointError(f"{clouds}: no iteration_<number> folder in it; {_nearest(clouds / 'iteration_30000')}")
    number = max(iterations) if iteration is None else iteration
    if number not in iterations:
        raise CheckpointError(f"{clouds}: no iteration {number}; available: {', '.join(map(str, sorted(iterations)))}")
    return number, iterations[number]


def require_file(path: Path) -> None:
    """Raise CheckpointError naming the nearest existing file when `path` is not a file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {_nearest(path)}")


def _nearest(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    if parent != path.parent:
        return f"not even its folder exists below {parent}"
    names = sorted(entry.name for entry in parent.iterdir())
    return f"nearest there: {nearest(path.name, names) or names[0]}" if names else "its folder is empty"
