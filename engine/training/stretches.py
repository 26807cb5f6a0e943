"""The stretches of a scene whose frames are not all kept on the disk."""

from __future__ import annotations

import logging

from common.text.wording import counted
from experts.training.stretches import VISIT, Stretches
from scenes import Scene

logger = logging.getLogger(__name__)


def stretches_of(scene: Scene) -> Stretches | None:
    """The stretches in which a training stays; None where all frames of the scene have room at once."""
    chunks = scene.frames.chunks()
    if chunks is None:
        return None
    at_once = max(1, chunks.most // 2)  # the others' room is for those that come next
    stretches = Stretches(length=chunks.length, offset=chunks.offset, frames=scene.num_frames, at_once=at_once)
    return stretches if stretches.chunks > chunks.most else None


def log_stretches(scene: Scene, stretches: Stretches | None) -> None:
    """Says that images come in another order than without --cache_gb."""
    if stretches is not None:
        logger.info(
            "--cache_gb does not hold all %s of the training: about %d images at a time are of %s, decoded again later",
            counted(scene.num_frames, "frame"),
            VISIT,
            counted(min(stretches.at_once * stretches.length, scene.num_frames), "frame"),
        )
