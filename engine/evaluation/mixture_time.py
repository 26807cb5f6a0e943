"""The time of scoring a mixture, tried out on black frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.runs.run import Run
from engine.runs.trial import LONG, BlackFrames

TRIED = 3  # frames, beside one whose time is that of the start


def scoring_seconds(run: Run, view: int, options: EvaluationOptions) -> tuple[float, float]:
    """Seconds of the first frame of a view with all that is loaded for it, and of each further one."""
    black = replace(run, scene=replace(run.scene, frames=BlackFrames(run.scene)))

    def seconds(count: int) -> float:
        start = perf_counter()
        with TemporaryDirectory() as folder:
            chosen = replace(options, frames=range(count), progress=False)
            evaluate_mixture(black, views=[view], folder=Path(folder), options=chosen)
        return perf_counter() - start

    first, more = seconds(1), min(TRIED, run.scene.num_frames - 1)  # the first of a GPU loads its kernels, too
    each = first
    if (first <= LONG or run.device.type != "cpu") and more > 0:
        one = seconds(1)
        further = seconds(1 + more) - one
        each = further / more if further > 0 else one
    return first, each
