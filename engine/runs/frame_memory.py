"""GPU memory for the experts' Gaussians of frames that a run comes back to."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from common.wording import bytes_text
from engine.runs.device import ComputeDevice, free_memory
from experts import Expert
from experts.kept_frames import COMPUTED, ExpertFrames

logger = logging.getLogger(__name__)

SHARE = 0.5  # of the memory that is free once the experts are loaded


def expert_frames(experts: Sequence[Expert], compute: ComputeDevice) -> ExpertFrames:
    """The source of a run's Gaussians: on a GPU one that keeps frames, each expert's in an equal part of the memory.

    On a CPU every frame is computed anew: nobody can tell how much of the memory is this process's to take.
    """
    free = free_memory(compute.device)
    if not free or not experts:
        return COMPUTED
    most = int(SHARE * free)
    logger.info("frames of experts are kept in GPU memory, in %s at most", bytes_text(most))
    return ExpertFrames(most_each=most // len(experts))
