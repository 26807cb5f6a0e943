"""What an export loses: PSNR of its images and of what it was made of, at the held-out cameras."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from moegs_rasterizer import RasterSettings

from common.progress import tracked
from common.tensors import image_from_uint8
from engine.evaluation.expert import PROTOCOL
from engine.evaluation.held_out import ImageAt, mixtures_of
from engine.evaluation.preparation import prepared
from engine.evaluation.psnr import psnr
from engine.evaluation.scoring import evenly_spread
from engine.runs.expert_images import image_of
from engine.runs.run import Run
from experts.base import Expert

MIXTURE, FILE, PLAYER = "mixture", "file", "file, in a 3DGS player"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """PSNR by name in dB, means over the frames of the cameras: against recorded frames, and against the source."""

    truth: Mapping[str, float]
    source: Mapping[str, float]  # of the file's images alone
    frames: int  # of each camera
    cameras: int

    @property
    def lost(self) -> float:
        """What the file loses of its source's PSNR as players show it, dB."""
        return next(iter(self.truth.values())) - self.truth[PLAYER]


@torch.no_grad()
def measured(run: Run, content: Expert, written: Expert, *, frames: int, progress: bool = False) -> Measured:
    """PSNR of the source first, then of the file's images, and of the mixture where it is not the source.

    content: what was exported, of which a file was written. frames: of each camera, evenly spread. Without held-out
    cameras the first training camera counts.
    """
    images = image_sources(run, content, written)
    scene, name = run.scene, next(iter(images))
    views = scene.test or scene.train[:1]
    chosen = evenly_spread(scene.num_frames, frames)
    truth: dict[str, list[float]] = {each: [] for each in images}
    source: dict[str, list[float]] = {FILE: [], PLAYER: []}
    moments = [(view, frame) for view in views for frame in chosen]
    for view, frame in tracked(moments, "Measuring", unit="image", shown=progress):
        recorded = image_from_uint8(torch.tensor(scene.frames.read(view, frame), device=run.device))
        shown = {each: prepared(PROTOCOL, at(scene.views[view].camera, frame)) for each, at in images.items()}
        for each, image in shown.items():
            truth[each].append(psnr(image, recorded))
        for each in source:
            source[each].append(min(psnr(shown[each], shown[name]), 100.0))  # equal images have no finite PSNR
    return Measured(
        truth={each: statistics.fmean(values) for each, values in truth.items()},
        source={each: statistics.fmean(values) for each, values in source.items()},
        frames=len(chosen),
        cameras=len(views),
    )


def image_sources(run: Run, content: Expert, written: Expert) -> dict[str, ImageAt]:
    """By name, the images to compare, those of the source first; the fused scene's source is the mixture."""
    compute, culling = run.compute, run.novel.culling
    images: dict[str, ImageAt] = {}
    if content in run.experts:
        images[content.name] = lambda camera, frame: image_of(content, camera, frame, compute=compute, culling=culling)
    else:
        images[MIXTURE] = mixtures_of(run)
        images[content.name] = lambda camera, frame: image_of(content, camera, frame, compute=compute)
    images[FILE] = lambda camera, frame: image_of(written, camera, frame, compute=compute)
    plain = as_players_do(written)
    images[PLAYER] = lambda camera, frame: image_of(plain, camera, frame, compute=compute)
    return images


def as_players_do(written: Expert) -> Expert:
    """The same splats with 3DGS's convention, which a player has whatever an expert was trained under."""
    plain: Any = copy.copy(written)
    plain.settings = RasterSettings(near=written.settings.near)
    return cast(Expert, plain)
