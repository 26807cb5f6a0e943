"""Size, memory and scores of a finished run, by the files that its steps left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.disk.files import read_json
from common.text.units import GIGABYTE, MEBIBYTE, MEGABYTE
from engine.budget.plan import Plan
from engine.checks.experts import EXPERT_REPORT
from engine.evaluation.mixture_results import TITLES
from engine.evaluation.scoring import psnr_of
from engine.outputs.render_writer import MIXTURE
from engine.pipeline.plan import PlannedScene, expert_folder
from engine.reporting.results import read_results


def taken_lines(plan: Plan, scene: PlannedScene) -> list[str]:
    """Lines on the size and memory of a run, told and taken, and on its score at the held-out cameras."""
    reports = {name: list(reports_in(expert_folder(scene, name))) for name in plan.experts}
    every = [report for own in reports.values() for report in own]
    size = sum(report["megabytes"] for report in every)
    peaks = [report["peak_gpu_memory_mib"] for report in every]
    scored = {name: [report["scores"] for report in own if report["scores"]] for name, own in reports.items()}
    scores = {name: _mean([psnr_of(each) for each in own]) for name, own in scored.items()}
    if len(plan.experts) > 1:
        results = read_results(scene.shown_path)
        size = results.facts["megabytes"]["total"]
        peaks.append(results.facts["peak_gpu_memory_mib"])
        scores = {TITLES.get(method, method): psnr_of(results.means[method]) for method in (MIXTURE, *results.experts)}
    lines = [f"size: planned {(plan.told_bytes or 0.0) / MEGABYTE:.1f} MB, taken {size:.1f} MB"]
    known = [peak * MEBIBYTE for peak in peaks if peak is not None]
    if known:
        most = max(step.gpu_bytes or 0.0 for step in plan.steps)
        lines.append(f"GPU memory: planned {most / GIGABYTE:.1f} GB, taken {max(known) / GIGABYTE:.1f} GB")
    shown = ", ".join(f"{name} {value:.2f}" for name, value in scores.items() if value is not None)
    return [*lines, f"PSNR at held-out cameras, dB: {shown}"]


def reports_in(folder: Path) -> Iterator[dict[str, Any]]:
    """The reports of an expert's training, one of each segment."""
    for path in (folder / EXPERT_REPORT, *sorted(folder.glob(f"*/{EXPERT_REPORT}"))):
        if path.is_file():
            yield read_json(path)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
