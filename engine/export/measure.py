"""Losses of exports: PSNR of its images and of what it was made of, at the held-out cameras."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from common.maths.tensors import image_from_uint8
from common.text.progress import tracked
from engine.errors import ConfigError
from engine.evaluation.expert import PROTOCOL
from engine.evaluation.held_out import ImageAt
from engine.evaluation.measures.preparation import prepared
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.scoring import evenly_spread
from engine.runs.run import Run

MOST_DB = 100.0  # equal images have no finite PSNR


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """PSNR by name in dB, means over the frames of the cameras: against recorded frames, and against the source."""

    truth: Mapping[str, float]  # the source first, the file last
    source: Mapping[str, float]  # of the file's images alone
    frames: int  # of each camera
    cameras: int

    @property
    def name(self) -> str:
        """The name of the source."""
        return next(iter(self.truth))

    @property
    def lost(self) -> float:
        """The loss of the file, of its source's PSNR, dB."""
        first, *_, last = self.truth.values()
        return first - last


@torch.no_grad()
def measured(
    run: Run,
    sources: Mapping[str, ImageAt],
    written: Mapping[str, ImageAt],
    *,
    frames: int,
    only: int | None = None,
    progress: bool = False,
) -> Measured:
    """PSNR of images by name. sources: the first is what the file is compared with. written: of the file.

    frames: of each camera, evenly spread. only: the one frame that the file is of. Without held-out cameras the first
    training camera counts. Equal images, as of a black frame, count as MOST_DB. Raises ConfigError where an image has
    values that are no numbers.
    """
    scene, images, reference = run.scene, {**sources, **written}, next(iter(sources))
    views = scene.test or scene.train[:1]
    chosen = evenly_spread(scene.num_frames, frames) if only is None else [only]
    truth: dict[str, list[float]] = {name: [] for name in images}
    source: dict[str, list[float]] = {name: [] for name in written}
    moments = [(view, frame) for view in views for frame in chosen]
    for view, frame in tracked(moments, "Measuring", unit="image", shown=progress):
        recorded = image_from_uint8(torch.tensor(scene.frames.read(view, frame), device=run.device))
        shown = {name: prepared(PROTOCOL, at(scene.views[view].camera, frame)) for name, at in images.items()}
        for name, values in truth.items():
            values.append(_finite(psnr(shown[name], recorded), name))
        for name, values in source.items():
            values.append(_finite(psnr(shown[name], shown[reference]), name))
    return Measured(
        truth={name: statistics.fmean(values) for name, values in truth.items()},
        source={name: statistics.fmean(values) for name, values in source.items()},
        frames=len(chosen),
        cameras=len(views),
    )


def _finite(value: float, name: str) -> float:
    if math.isnan(value):
        raise ConfigError(f"{name}: its images have values that are no numbers, so that no file can be of them")
    return min(value, MOST_DB)
