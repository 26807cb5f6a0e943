"""PSNR of images at a run's held-out cameras, to compare runs and experts with."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.maths.tensors import image_from_uint8
from engine.evaluation.expert import PROTOCOL
from engine.evaluation.measures.preparation import prepared
from engine.evaluation.measures.psnr import psnr
from engine.runs.run import Run, mix_camera
from scenes import Scene

ImageAt = Callable[[Camera, int], Tensor]  # (camera, frame) -> image [3, h, w]


@torch.no_grad()
def held_out_psnr(
    images: Mapping[str, ImageAt], scene: Scene, *, frames: Sequence[int], device: torch.device
) -> dict[str, float]:
    """By name, the mean PSNR of images at some frames of the held-out cameras, dB, as render_*.py scores 8-bit ones."""
    values: dict[str, list[float]] = {name: [] for name in images}
    for view in scene.test:
        for frame in frames:
            truth = image_from_uint8(torch.tensor(scene.frames.read(view, frame), device=device))
            for name, image_at in images.items():
                image = image_at(scene.views[view].camera, frame)
                values[name].append(psnr(prepared(PROTOCOL, image), truth))
    return {name: statistics.fmean(each) for name, each in values.items()}


def mixtures_of(run: Run) -> ImageAt:
    """The images of a run's mixture at held-out cameras."""
    return lambda camera, frame: mix_camera(run, camera, frame).image


def mixture_psnr(run: Run, *, frames: Sequence[int]) -> float:
    """The mean PSNR of a run's mixture at some frames of its held-out cameras, dB."""
    return held_out_psnr({"": mixtures_of(run)}, run.scene, frames=frames, device=run.device)[""]
