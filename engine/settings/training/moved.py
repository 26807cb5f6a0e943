"""The present places of all that an expert's training reads: it may have been moved together with the training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.disk.moved import place_now, way_from

logger = logging.getLogger(__name__)

INPUTS = {  # settings, as the log names them
    "source_path": "the scene is",
    "points": "start points are",
    "cache_path": "decoded frames are",
}


def moved_inputs(trained: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """The new places of what a training read, by setting: beside its folder as before, in a tree moved as a whole.

    trained: settings that the training left in its folder, by flat name. folder: where that is now.
    """
    before = trained.get("model_path")
    paths = {name: path for name in INPUTS if isinstance(path := trained.get(name), Path)}
    if before is None:
        return {}
    places = {name: place_now(path, folder=folder, way=way_from(before, path)) for name, path in paths.items()}
    return {name: place for name, place in places.items() if place != paths[name]}


def log_moved(moved: Mapping[str, Path], trained: Mapping[str, Any]) -> None:
    """Logs what `moved_inputs` found for the settings of a training."""
    for name, place in moved.items():
        logger.info("%s read from %s, as %s is not there any more", INPUTS[name], place, trained[name])
