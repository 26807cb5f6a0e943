"""Folders of rendered pictures; whoever knows the scene reads them (engine/runs/experts/pictures.py)."""

from __future__ import annotations

from pathlib import Path

from experts.base import CheckpointError, LoadOptions
from experts.videos.model import Videos


def load_videos(path: Path, options: LoadOptions) -> Videos:
    """The expert of a folder, which shows nothing until it is given a scene's cameras and their pictures."""
    if not path.is_dir():
        raise CheckpointError(f"{path}: give the folder that holds the videos of all cameras")
    return Videos()
