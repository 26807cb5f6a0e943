"""The share of an evaluation's frames that a rank renders and scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from common import ranks
from common.text.wording import counted
from scenes import ViewFrame

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFrames:
    """A rank's block of frames, and the one before it."""

    frames: Sequence[ViewFrame]
    lead: Sequence[ViewFrame]  # scored but not counted: metrics of change compare with it, and it warms up; or none


def view_frames_of_rank(view_frames: Sequence[ViewFrame], *, shown: bool) -> OwnFrames:
    """This rank's block of an evaluation's frames. Blocks, so that parts of a video can be joined.

    shown: a line tells how several ranks share the frames.
    """
    if shown and ranks.count() > 1:
        largest = counted(len(ranks.block(len(view_frames))), "frame")  # of rank 0
        logger.info("%s: %s, in blocks of %s", counted(ranks.count(), "rank"), _all(view_frames), largest)
    block = ranks.block(len(view_frames))
    lead = view_frames[block.start - 1 : block.start] if block and block.start else ()
    return OwnFrames(frames=[view_frames[index] for index in block], lead=lead)


def _all(view_frames: Sequence[ViewFrame]) -> str:
    return counted(len(view_frames), "frame")
