"""Checks of a scene's footage, whole for `moegs.py check` and short at the start of a training."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from scenes import Scene
from scenes.footage import check_frames, check_headers, frames_table

logger = logging.getLogger(__name__)


def warn_of_headers(scene: Scene) -> None:
    """Logs what the files' headers give to warn of, before a frame is decoded."""
    _warn(scene, check_headers(scene.sources).warnings)


def warn_of_frames(scene: Scene, *, points: Path | None = None) -> list[str]:
    """Logs what the frames give to warn of: poses, time, colours, blur; returns a table of the cameras.

    points: a file of start points; None: those in the scene's folder.
    """
    checks = check_frames(scene, points=points)
    for note in checks.notes:
        logger.info("%s", note)
    _warn(scene, checks.warnings)
    return frames_table(checks)


def _warn(scene: Scene, warnings: Iterable[str]) -> None:
    for warning in warnings:
        logger.warning("%s: %s", scene.root, warning)
