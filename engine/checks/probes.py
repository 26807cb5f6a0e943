"""Probes: a few small training images, and an expert's images at their cameras and frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, Splat, rasterize
from torch import Tensor

from engine.runs.device import ComputeDevice, wait
from experts.base import Expert
from experts.pictures import has_pictures, splat_of
from scenes import Scene
from scenes.frames.resize import resized
from scenes.types import ViewFrame

_WIDTH, _VIEWS = 320, 3  # px and number of the images that an expert is measured on


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A small training image."""

    view: int  # index into scene.views
    frame: int
    camera: Camera
    number: int | None  # of a training camera, for experts with parameters for each
    truth: Tensor  # [3, h, w] in 0 ... 1, on the device


def shrunk(camera: Camera, width: int) -> Camera:
    """A camera whose image is at most `width` px wide."""
    scale = min(1.0, width / camera.width)
    return replace(
        camera,
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=camera.cx * scale,
        cy=camera.cy * scale,
        width=max(1, round(camera.width * scale)),
        height=max(1, round(camera.height * scale)),
    )


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of the numbers 0 ... count - 1, evenly spread, with the first and the last."""
    return sorted({round(float(number)) for number in np.linspace(0, count - 1, min(count, wanted))})


def read_probe(scene: Scene, view_frame: ViewFrame, *, width: int, device: torch.device) -> Probe:
    """A scene's image, at most `width` px wide."""
    view, frame = view_frame
    camera = shrunk(scene.views[view].camera, width)
    small = resized(scene.frames.read(view, frame), camera.width, camera.height, "box")
    truth = torch.from_numpy(np.array(small)).to(device).permute(2, 0, 1).float() / 255
    number = scene.views[view].number if view in scene.train else None
    return Probe(view=view, frame=frame, camera=camera, number=number, truth=truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Changes to an expert's rendering, for finding out why it does not fit."""

    later: float = 0  # frames after the probe's
    near: float | None = None
    without_far: bool = False
    background: tuple[float, ...] | None = None

    def settings(self, expert: Expert) -> RasterSettings:
        """The splatting settings of the expert, changed."""
        settings = expert.settings if self.near is None else replace(expert.settings, near=self.near)
        return replace(settings, far=None) if self.without_far else settings


AS_IT_IS = Variation()


@torch.no_grad()
def gaussians_of(expert: Expert, probe: Probe, variation: Variation = AS_IT_IS) -> Gaussians:
    """An expert's Gaussians for a probe."""
    return expert.at(probe.frame + variation.later, camera=probe.number)


@torch.no_grad()
def image_and_splat(
    expert: Expert,
    probe: Probe,
    *,
    compute: ComputeDevice,
    variation: Variation = AS_IT_IS,
    gaussians: Gaussians | None = None,
) -> tuple[Tensor, Splat]:
    """An expert's image [3, h, w] at a probe's camera and frame, in 0 ... 1, and what was splatted.

    gaussians: those of `gaussians_of`, where they are there already.
    """
    if has_pictures(expert):
        splat = splat_of(expert.picture(probe.camera, probe.frame + variation.later))
        return splat.colour, splat
    gaussians = gaussians_of(expert, probe, variation) if gaussians is None else gaussians
    background = gaussians.means.new_tensor(variation.background or expert.background)
    layer = Layer(gaussians=gaussians, settings=variation.settings(expert), background=background)
    splat = rasterize([layer], probe.camera, backend=compute.backend)[0]
    wait(compute)
    return expert.colour(splat, probe.camera, frame=probe.frame + variation.later).clamp(0, 1), splat


def squared_error(image: Tensor, truth: Tensor) -> float:
    """The mean squared error of an image."""
    return float((image - truth).square().mean())


def decibels(error: float) -> float:
    """PSNR of a mean squared error of values in 0 ... 1, at most 99 dB."""
    return float(-10 * np.log10(max(error, 1e-10)))


def mean_psnr(
    expert: Expert,
    probes: Sequence[Probe],
    *,
    compute: ComputeDevice,
    variation: Variation = AS_IT_IS,
    models: Sequence[Gaussians] | None = None,
) -> float:
    """The mean PSNR of an expert's images over probes, in dB.

    models: the Gaussians for each probe, where they are there already.
    """
    known = [None for _ in probes] if models is None else models
    images = [
        image_and_splat(expert, probe, compute=compute, variation=variation, gaussians=model)[0]
        for probe, model in zip(probes, known, strict=True)
    ]
    errors = [squared_error(image, probe.truth) for image, probe in zip(images, probes, strict=True)]
    return float(np.mean([decibels(error) for error in errors]))


def ready_views(scene: Scene) -> list[int]:
    """The training views whose frames are decoded, else the held-out ones: no clip is decoded for a check.

    All training views where frames are decoded as they are read.
    """
    if scene.frames.chunks() is not None:
        return list(scene.train)
    for views in (scene.train, scene.test):
        ready = [view for view in views if scene.frames.on_disk([view]).missing_bytes == 0]
        if ready:
            return ready
    return []


def spread_probes(scene: Scene, views: Sequence[int], compute: ComputeDevice) -> list[Probe]:
    """Up to three images: the first view at the first frame, the last at the last, one between."""
    chosen = [views[index] for index in spread(len(views), _VIEWS)]
    frames = [round(float(frame)) for frame in np.linspace(0, scene.num_frames - 1, len(chosen))]
    return [
        read_probe(scene, view_frame, width=_WIDTH, device=compute.device)
        for view_frame in zip(chosen, frames, strict=True)
    ]
