"""The best constant weights of an evaluation: fitted before it, and replaced after it where others do better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from common import ranks
from common.text.progress import tracked
from engine.evaluation.mixture_results import FrameResult
from engine.evaluation.rivals.baselines import (
    CONSTANT,
    NO_ROUNDING_NOISE,
    ROUNDING_NOISE,
    UNIFORM,
    ConstantWeights,
    best_constants,
)
from engine.evaluation.scoring import evenly_spread, mean_scores, psnr_of
from engine.runs.run import Run, mix_view
from engine.settings.rendering.metric_protocols import MetricProtocol
from scenes import Prefetcher, ViewFrame


def fit_constants(
    run: Run, view_frames: Sequence[ViewFrame], *, frames: int | None, protocol: MetricProtocol, progress: bool
) -> ConstantWeights | None:
    """Renders frames once before they are scored: the weights must be there when the first frame is scored.

    frames: number of them, evenly spread; None: all; 0: no weights. The images wait in no memory for the scoring: 300
    frames of four experts at 1352x1014 px take 20 GB.
    """
    if frames == 0:
        return None
    chosen = tuple(view_frames[index] for index in evenly_spread(len(view_frames), frames))
    own = [chosen[index] for index in ranks.block(len(chosen))]

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        shown = tracked(own, "Fitting constant weights", unit="frame", shown=progress, leave=False)
        with Prefetcher(run.scene, own, device=run.device) as truths:
            for view_frame in shown:
                images = mix_view(run, *view_frame).images
                yield images, next(truths)[2]

    noise = ROUNDING_NOISE if protocol.eight_bit else NO_ROUNDING_NOISE
    weights = best_constants(pairs(), noise=noise)
    return ConstantWeights(weights=weights, fitted_on=chosen, evaluated=len(view_frames))


def no_better_constants(
    results: Sequence[FrameResult], constants: ConstantWeights | None, experts: Sequence[str]
) -> tuple[tuple[FrameResult, ...], ConstantWeights | None]:
    """Equal weights or one expert alone, where their printed PSNR is above the fitted weights'.

    These are constant weights too. The fit does not know clamping and rounding, nor frames that it left out.
    """
    if constants is None:
        return tuple(results), None
    share = 1 / len(experts)
    others = {UNIFORM: (share,) * len(experts)} | {
        name: tuple(float(name == other) for other in experts) for name in experts
    }
    psnr = {name: psnr_of(mean_scores([frame.scores[name] for frame in results])) for name in (CONSTANT, *others)}
    best = max(psnr, key=lambda name: psnr[name])  # the fitted weights where several are equal
    if best == CONSTANT:
        return tuple(results), constants
    frames = (replace(frame, scores={**frame.scores, CONSTANT: frame.scores[best]}) for frame in results)
    return tuple(frames), replace(constants, weights=others[best])
