"""The frames that Gaussians are ranked at: evenly spread, and some of every block of rows that the clip shows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise

from engine.evaluation.scoring import evenly_spread
from engine.runs.run import Run
from experts.base import Expert

logger = logging.getLogger(__name__)

LEAST_OF_A_BLOCK = 2  # frames, or all where it is shown in fewer


def ranked_frames(run: Run, wanted: int) -> tuple[tuple[int, ...], ...]:
    """By expert, the frames that its Gaussians are ranked at: `wanted` evenly spread ones, then those of its own.

    Segments and windows are shown in their own frames only. Without any of these, all their Gaussians would count as
    needless.
    """
    even = evenly_spread(run.scene.num_frames, wanted)
    return tuple((*even, *_missing(expert, run.scene.num_frames, even)) for expert in run.experts)


def frames_between(run: Run, ranked: int, wanted: int) -> list[int]:
    """Frames to measure a pruned run at: `wanted` at most, halfway between the ranked ones and evenly spread.

    At the frames that Gaussians were ranked at, the loss is less than at others. A clip of these alone has no others.
    ranked: as `wanted` of `ranked_frames`.
    """
    count, known = run.scene.num_frames, all_frames(ranked_frames(run, ranked))
    between: list[int] = []
    while len(between) < wanted:
        gaps = pairwise(sorted([*known, *between, count]))
        middles = [(start + stop) // 2 for start, stop in gaps if stop - start > 1]
        if not middles:
            break
        between += middles
    found = sorted(between or known)
    return [found[index] for index in evenly_spread(len(found), wanted)]


def tell_more_frames(run: Run, wanted: int) -> None:
    """Says in the log that Gaussians are ranked at more frames than wanted, where they are."""
    used, even = len(all_frames(ranked_frames(run, wanted))), len(evenly_spread(run.scene.num_frames, wanted))
    if used > even:
        logger.info(
            "Gaussians are ranked at %d frames, not %d: every segment or window has %d of them, if it is shown so long",
            *(used, even, LEAST_OF_A_BLOCK),
        )


def all_frames(ranked: Sequence[Sequence[int]]) -> list[int]:
    """The frames of all experts, each once: those that all share first."""
    shared = [frame for frame in ranked[0] if all(frame in own for own in ranked)]
    return [*shared, *sorted({frame for own in ranked for frame in own} - {*shared})]


def frames_of_blocks(expert: Expert, num_frames: int) -> dict[tuple[int, int], list[int]]:
    """The frames that show each block of rows, from its first row to the one after its last."""
    frames: dict[tuple[int, int], list[int]] = {}
    for frame in range(num_frames):
        rows = expert.rows(frame)
        frames.setdefault((rows.start, rows.stop), []).append(frame)
    return frames


def _missing(expert: Expert, num_frames: int, ranked: Sequence[int]) -> list[int]:
    """Frames, in order, of blocks with fewer than LEAST_OF_A_BLOCK of the ranked frames; none of a model without."""
    missing: list[int] = []
    blocks = frames_of_blocks(expert, num_frames)
    for frames in blocks.values() if len(blocks) > 1 else ():
        own = [frame for frame in ranked if frame in frames]
        spread = [frames[(2 * index + 1) * len(frames) // (2 * LEAST_OF_A_BLOCK)] for index in range(LEAST_OF_A_BLOCK)]
        while len(own) < min(LEAST_OF_A_BLOCK, len(frames)):
            own.append(_farthest(spread, own))
            missing.append(own[-1])
    return sorted(missing)


def _farthest(frames: Sequence[int], taken: Sequence[int]) -> int:
    """The first of the frames that are farthest from all that are taken."""
    return max(frames, key=lambda frame: min((abs(frame - other) for other in taken), default=0))
