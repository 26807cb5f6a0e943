"""Saves on the way of a training that are removed once there are enough newer ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from common.disk.leftovers import unfinished_folder
from engine.training.curve import CURVE_FILE, read_curve

logger = logging.getLogger(__name__)


def drop_older(folder: Path, saves: Mapping[int, Path], *, newest: int, keep: int | None) -> None:
    """Removes saves of a training but for the `keep` newest, and the one with the best score before the newest.

    The newest has no score yet, or has one where a kill came after it: what stays is the same in both cases.

    folder: of the training, whose curve has the scores. saves: folders by iteration. newest: the iteration that has
    just been saved; later ones stay. keep None: nothing is removed. A save is moved aside before it is removed, so a
    kill leaves none in parts.
    """
    if keep is None:
        return
    older = sorted(iteration for iteration in saves if iteration <= newest)
    kept = {*older[-keep:], _best(folder, older[:-1])}
    for iteration in older:
        if iteration not in kept:
            with unfinished_folder(folder) as aside, suppress(FileNotFoundError):
                os.replace(saves[iteration], aside / saves[iteration].name)
            logger.info("iteration %d: removed, as --keep_checkpoints is %d", iteration, keep)


def _best(folder: Path, iterations: list[int]) -> int | None:
    """The saved iteration with the highest score, the later of two; None where none was scored."""
    rows = read_curve(folder / CURVE_FILE)
    scores = {int(row["iteration"]): row["test_psnr"] for row in rows if "test_psnr" in row}
    scored = [(scores[iteration], iteration) for iteration in iterations if iteration in scores]
    return max(scored)[1] if scored else None
