"""What an evaluation found: scores of every frame for every way of rendering it, and the files that record them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.files import write_json
from engine.evaluation.metrics import Scores, mean_scores
from engine.outputs.image_writer import BLEND

UNIFORM = "uniform_mean"
CONSTANT = "best_constant"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """One evaluated frame of one camera."""

    camera: str
    frame: int
    seconds: float  # of mixing: experts, one rasterizer call, head, blend
    gates: Mapping[str, float]  # mean over pixels, per expert
    scores: Mapping[str, Scores]  # per method: "MoE", each expert, "uniform_mean", "best_constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All frames of an evaluation, what it was made under, and what it wrote."""

    frames: tuple[FrameResult, ...]
    conditions: Mapping[str, Any]  # protocol, cameras, resolution, temperature, hashes, versions ...
    files: tuple[Path, ...]

    @property
    def means(self) -> dict[str, Scores]:
        """Mean scores per method."""
        methods = self.frames[0].scores
        return {method: mean_scores([frame.scores[method] for frame in self.frames]) for method in methods}

    @property
    def mean_gates(self) -> dict[str, float]:
        """Mean gate per expert over pixels and frames."""
        return {name: statistics.fmean(f.gates[name] for f in self.frames) for name in self.frames[0].gates}

    @property
    def seconds(self) -> float:
        """Mean seconds a frame; the first frame warms up and does not count when there are others."""
        return statistics.fmean(frame.seconds for frame in self.frames[1:] or self.frames)


def upstream_metrics(evaluation: Evaluation) -> dict[str, float | None]:
    """The four keys of upstream's mean_metrics.json; LPIPS is null when it could not be measured."""
    mixture = evaluation.means[BLEND]
    return {
        "MoE-GS_PSNR": mixture.psnr,
        "MoE-GS_SSIM": mixture.ssim,
        "MoE-GS_LPIPS": mixture.lpips,
        "MoE-GS_times": evaluation.seconds,
    }


def write_evaluation(folder: Path, evaluation: Evaluation) -> Evaluation:
    """Writes `metrics.json` (everything) and `mean_metrics.json` (upstream's keys); returns it with those files."""
    by_psnr = sorted(evaluation.frames, key=lambda frame: frame.scores[BLEND].psnr)
    report = {
        "schema": SCHEMA,
        **evaluation.conditions,
        "timing": {
            "mean_seconds": evaluation.seconds,
            "median_seconds": statistics.median(frame.seconds for frame in evaluation.frames[1:] or evaluation.frames),
            "what": "experts, one rasterizer call, head and blend of one frame; the first frame does not count",
        },
        "means": {method: asdict(scores) for method, scores in evaluation.means.items()},
        "mean_gates": evaluation.mean_gates,
        "best_frame": _named(by_psnr[-1]),
        "worst_frame": _named(by_psnr[0]),
        "per_frame": [asdict(frame) for frame in evaluation.frames],
    }
    written = (
        write_json(folder / "metrics.json", report),
        write_json(folder / "mean_metrics.json", upstream_metrics(evaluation)),
    )
    return replace(evaluation, files=(*evaluation.files, *written))


def _named(frame: FrameResult) -> dict[str, object]:
    return {"camera": frame.camera, "frame": frame.frame, "psnr": frame.scores[BLEND].psnr}


def summary(title: str, evaluation: Evaluation) -> str:
    """What was measured and a table of every method's mean scores, the mixture last, as lines of text."""
    facts, means = evaluation.conditions, evaluation.means
    sizes = ", ".join(f"{width}x{height}" for width, height in facts["resolutions"])
    lines = [
        f"{title}: {', '.join(facts['cameras'])}; {len(facts['frames'])} frames, {sizes} px; "
        f"metrics: {facts['protocol']['name']}; temperature {facts['temperature']:g}; "
        f"{evaluation.seconds:.2f} s a frame"
    ]
    order = [method for method in means if method != BLEND] + [BLEND]
    width = max(len(method) for method in order)
    lines.append(f"  {'':{width}}    PSNR    SSIM   LPIPS    gate")
    for method in order:
        scores, gate = means[method], evaluation.mean_gates.get(method)
        lpips = "      -" if scores.lpips is None else f"{scores.lpips:7.4f}"
        share = "" if gate is None else f"{gate:8.3f}"
        lines.append(f"  {method:{width}} {scores.psnr:7.2f} {scores.ssim:7.4f} {lpips}{share}")
    if CONSTANT in means:
        lines.append(f"  {CONSTANT} is fitted on the evaluated frames: an upper bound for constant weights")
    if means[BLEND].lpips is None:
        lines.append(f"  LPIPS: {facts['lpips_weights']}")
    return "\n".join(lines)
