"""GPU memory for the experts' Gaussians of frames that a run comes back to."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

from common.text.wording import bytes_text
from engine.runs.cost import run_bytes
from engine.runs.device import spare_memory
from engine.runs.run import Run
from experts.base import Precision
from experts.kept_frames import ExpertFrames

logger = logging.getLogger(__name__)

SHARE = 0.5  # of what is free beside the run's own needs: other work may come
A_FRAME = 5 * 10**8  # bytes that the Gaussians of one frame may take to be kept


def with_kept_frames(run: Run, *, precision: Precision = "float32") -> Run:
    """The run with frames of experts kept on its GPU, each expert's in an equal part of half of the spare memory.

    precision: of the experts' networks. On a CPU every frame is computed anew: nobody can tell how much of its memory
    is this process's to take.
    """
    spare = spare_memory(run.device)
    most = 0
    if spare is not None:
        needed = run_bytes(run, range(len(run.scene.views)), training=True)
        most = max(0, int(SHARE * (spare - needed)))
        logger.info("frames of experts are kept in GPU memory, in %s at most", bytes_text(most))
    spare_now = partial(spare_memory, run.device)
    return replace(run, frames=ExpertFrames(most=most, shares=len(run.experts), precision=precision, spare=spare_now))


def keeping_a_frame(run: Run) -> Run:
    """The run that computes its experts' Gaussians of a frame once for all views of it, on a CPU too.

    It is for one frame: it keeps what fits into A_FRAME, and drops nothing of it.
    """
    return replace(run, frames=ExpertFrames(most=A_FRAME, drop="never", precision=run.frames.precision))
