"""The seams between an expert's windows: changes from frame to frame there, elsewhere, and of one window alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from common.maths.tensors import image_from_uint8
from common.text.progress import tracked
from engine.evaluation.measures.preparation import prepared
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.measures.suite import Scores
from engine.runs.device import wait
from engine.runs.run import Run, mix_view
from engine.settings.rendering.metric_protocols import MetricProtocol
from experts.windows.model import Unfaded, WindowedExpert

CHANGE = "tpsnr"  # a row of METRICS: PSNR of the change since the frame before
AT, ELSEWHERE, ONE_WINDOW, LOST = "at_seams", "elsewhere", "one_window", "lost"
WHAT = (
    f"mean over frames of {CHANGE}, dB; {AT}: frames whose change from the frame before is made by two windows of an "
    f"expert; {ELSEWHERE}: all others; {ONE_WINDOW}: the blend at the frames of {AT} that is made by one window alone, "
    f"mean of the earlier and the later; {LOST}: {ONE_WINDOW} less {AT}, at frames that have both"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredChange:
    """The scores of a frame, by method, and where it was scored."""

    view: int
    frame: int
    scores: Mapping[str, Scores]


def seam_scores(
    run: Run, scored: Sequence[ScoredChange], *, blend: str, protocol: MetricProtocol, progress: bool = False
) -> dict[str, Any] | None:
    """The changes at seams and elsewhere, as metrics.json has them; None without windows or measured changes.

    blend: the method whose images are those of the run; what its seams lose is measured by rendering them again with
    one window alone, since frames elsewhere may show more or less motion.
    """
    windowed = [expert for expert in run.experts if isinstance(expert, WindowedExpert)]
    seams = {frame for expert in windowed for seam in expert.seams() for frame in seam}
    measured = [one for one in scored if all(own.get(CHANGE) is not None for own in one.scores.values())]
    at, elsewhere = ([one for one in measured if (one.frame in seams) is wanted] for wanted in (True, False))
    if not at or not elsewhere:
        return None
    methods = {name: {AT: _mean(at, name), ELSEWHERE: _mean(elsewhere, name)} for name in at[0].scores}
    alone = changes_of_one_window(run, at, protocol, progress=progress)
    both = [one for one in at if (one.view, one.frame) in alone]
    lost = None
    if both:
        methods[blend][ONE_WINDOW] = statistics.fmean(alone.values())
        lost = methods[blend][ONE_WINDOW] - _mean(both, blend)
    return {"what": WHAT, "frames": {AT: len(at), ELSEWHERE: len(elsewhere)}, "methods": methods, LOST: lost}


def _mean(part: Iterable[ScoredChange], method: str) -> float:
    return statistics.fmean(float(one.scores[method][CHANGE] or 0.0) for one in part)


@torch.no_grad()
def changes_of_one_window(
    run: Run, scored: Sequence[ScoredChange], protocol: MetricProtocol, *, progress: bool = False
) -> dict[tuple[int, int], float]:
    """By view and frame, the PSNR of the blend's change where each expert shows one window at both frames.

    Of the earlier windows and of the later ones, the mean where both show the frame and the one before.
    """
    found: dict[tuple[int, int], list[float]] = {}
    for later in (False, True):
        unfaded = _unfaded(run, later=later)
        known: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for one in tracked(scored, "Measuring seams", unit="frame", shown=progress, leave=False):
            if not _stays(unfaded, one.frame):
                continue
            pair = [(one.view, one.frame - 1), (one.view, one.frame)]
            known = {key: known.get(key) or _image_and_truth(unfaded, key, protocol) for key in pair}
            (before, truth_before), (image, truth) = (known[key] for key in pair)
            found.setdefault((one.view, one.frame), []).append(psnr(image - before, truth - truth_before))
    return {key: statistics.fmean(values) for key, values in found.items()}


def _unfaded(run: Run, *, later: bool) -> Run:
    experts = tuple(
        Unfaded(expert, later=later) if isinstance(expert, WindowedExpert) else expert for expert in run.experts
    )
    return replace(run, experts=experts)


def _stays(run: Run, frame: int) -> bool:
    """True where no expert changes its window from the frame before."""
    windowed = [expert for expert in run.experts if isinstance(expert, Unfaded)]
    return all(expert.window_at(frame) == expert.window_at(frame - 1) for expert in windowed)


def _image_and_truth(run: Run, view_frame: tuple[int, int], protocol: MetricProtocol) -> tuple[Tensor, Tensor]:
    image = mix_view(run, *view_frame).image
    wait(run.compute)
    truth = image_from_uint8(torch.tensor(run.scene.frames.read(*view_frame), device=run.device))
    return prepared(protocol, image), prepared(protocol, truth)
