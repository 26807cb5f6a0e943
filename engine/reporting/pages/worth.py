"""The worth of each expert in a mixture, measured on some frames."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.text.progress import tracked
from engine.evaluation.mixture import render_frame
from engine.outputs.frame_images import frame_images
from engine.reporting.pages.run_frames import psnr_of_image, winners, without
from engine.runs.run import Run
from scenes import ViewFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Means over frames; PSNR in dB of images rounded to 8 bits, as in the metric protocol 8bit."""

    frames: int
    mixture: float
    without: Mapping[str, float]  # by expert: of the mixture with that expert's gate given to the others
    won: Mapping[str, float]  # by expert: share of the pixels around which its error is the smallest


def measure_worth(run: Run, view_frames: Sequence[ViewFrame], *, quiet: bool) -> Worth:
    """Render frames, and measure the mixture with and without each expert."""
    names = [expert.name for expert in run.experts]
    whole: list[float] = []
    lacking: dict[str, list[float]] = {name: [] for name in names}
    won: dict[str, list[float]] = {name: [] for name in names}
    for view, frame in tracked(view_frames, "Measuring each expert", unit="frame", shown=not quiet, leave=False):
        mixture, truth = render_frame(run, (view, frame)), run.scene.frames.read(view, frame)
        whole.append(psnr_of_image(mixture.image, truth))
        winner = winners(frame_images(mixture, truth))
        for index, name in enumerate(names):
            lacking[name].append(psnr_of_image(without(mixture, index), truth))
            won[name].append(float(np.mean(winner == index)))
    return Worth(
        frames=len(whole),
        mixture=statistics.fmean(whole),
        without={name: statistics.fmean(values) for name, values in lacking.items()},
        won={name: statistics.fmean(values) for name, values in won.items()},
    )
