"""Likely causes of images that do not fit the frames, each found by rendering with one thing changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.maths.geometry import transformed
from engine.checks.probes import (
    Probe,
    Variation,
    decibels,
    gaussians_of,
    image_and_splat,
    mean_psnr,
    read_probe,
    squared_error,
)
from engine.runs.device import ComputeDevice
from experts import EXPERTS
from experts.base import Expert
from experts.pictures import has_pictures
from router import kind_of
from scenes import Scene

GAIN = 1.0  # dB by which a change has to be better before it is named as the cause
NEARS = (0.01, 0.05, 0.1, 0.15, 0.25, 0.4)  # near planes to try, in median depths of the Gaussians in the image
AS_GOOD = 0.1  # dB within which the farthest near plane is taken
SHOWN = 18.0  # dB from which an image shows what a frame shows
_SMALL = 96  # px, width of the images that are compared with those of all cameras


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPlane:
    """The near plane of an expert, and the best of those that were tried."""

    culled: float  # share of the Gaussians in the images that lie before the plane
    own: float  # the expert's own
    near: float  # the best one
    psnr: float  # with it, dB
    own_psnr: float  # with the expert's own

    @property
    def gain(self) -> float:
        """The dB that the best plane wins."""
        return self.psnr - self.own_psnr


def try_near_planes(expert: Expert, probes: Sequence[Probe], *, compute: ComputeDevice) -> NearPlane:
    """An expert's images with several near planes; only its own where its planes cannot be chosen, or has none."""
    if has_pictures(expert):
        psnr = mean_psnr(expert, probes, compute=compute)
        return NearPlane(culled=0.0, own=0.0, near=0.0, psnr=psnr, own_psnr=psnr)
    models = [gaussians_of(expert, probe) for probe in probes]
    depths = [_depths_in_image(model.means, probe) for model, probe in zip(models, probes, strict=True)]
    own = expert.settings.near
    seen = torch.cat(depths)
    culled = float((seen < own).float().mean()) if len(seen) else 0.0
    middle = float(seen.median()) if len(seen) else 0.0
    tried = [own]
    spec = EXPERTS.get(kind_of(expert.name))
    if spec is not None and spec.has_planes and middle > 0:
        tried += [share * middle for share in NEARS]
    measured = {
        near: mean_psnr(expert, probes, compute=compute, variation=Variation(near=near), models=models)
        for near in tried
    }
    most = max(measured.values())
    best = max(near for near, value in measured.items() if most - value <= AS_GOOD)  # the farthest hides least
    return NearPlane(culled=culled, own=own, near=best, psnr=measured[best], own_psnr=measured[own])


def _depths_in_image(means: Tensor, probe: Probe) -> Tensor:
    """Depths of the Gaussians whose means a probe's camera shows, whatever the planes."""
    camera = probe.camera
    x, y, depth = transformed(means, camera.world_to_camera.to(means)).unbind(dim=1)
    column, row = x / depth * camera.fx + camera.cx, y / depth * camera.fy + camera.cy
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return depth[(depth > 0) & inside]


def try_without_far_plane(expert: Expert, probes: Sequence[Probe], *, psnr: float, compute: ComputeDevice) -> float:
    """The dB that an expert wins without its far plane; 0 where it has none."""
    if expert.settings.far is None:
        return 0.0
    return mean_psnr(expert, probes, compute=compute, variation=Variation(without_far=True)) - psnr


def try_later_frames(
    expert: Expert, probes: Sequence[Probe], later: int, *, psnr: float, compute: ComputeDevice
) -> float:
    """The dB that an expert wins where it shows frames that many later; 0 where it does not have them.

    A clip that begins at frame 30 of the footage, and an expert of the whole footage, differ by 30 frames.
    """
    if later == 0:
        return 0.0
    try:
        return mean_psnr(expert, probes, compute=compute, variation=Variation(later=later)) - psnr
    except ValueError:  # it does not cover them
        return 0.0


def try_background(expert: Expert, probes: Sequence[Probe], *, psnr: float, compute: ComputeDevice) -> str | None:
    """The background that fits better by GAIN than the expert's own, white or black; None where none does."""
    other = tuple(1 - value for value in expert.background)
    if mean_psnr(expert, probes, compute=compute, variation=Variation(background=other)) - psnr < GAIN:
        return None
    return "white" if other[0] == 1 else "black"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOrder:
    """Cameras whose images fit the frames of other cameras better than their own."""

    fits: dict[str, str]  # camera whose pose was rendered -> camera whose frame the image fits
    cameras: int  # that were compared

    @property
    def is_wrong(self) -> bool:
        """True where this holds for most cameras, as it does after poses or files changed their order."""
        return 2 * len(self.fits) > self.cameras

    def examples(self) -> str:
        """ "cam01 shows cam02's image, cam02 cam03's, …" """
        pairs = list(self.fits.items())
        return ", ".join(f"the pose of {a} shows the image of {b}" for a, b in pairs[:3]) + (
            f" (and {len(pairs) - 3} more)" if len(pairs) > 3 else ""
        )


def try_camera_order(scene: Scene, views: Sequence[int], expert: Expert, compute: ComputeDevice) -> CameraOrder:
    """Compares an expert's image at each of some views with the frames of all of them, at the clip's middle."""
    frame = scene.num_frames // 2
    probes = [read_probe(scene, (view, frame), width=_SMALL, device=compute.device) for view in views]
    fits = {}
    for index, probe in enumerate(probes):
        image, _ = image_and_splat(expert, probe, compute=compute)
        psnr = [decibels(_error(image, other)) for other in probes]
        best = int(np.argmax(psnr))
        if psnr[best] >= SHOWN and psnr[best] - psnr[index] >= GAIN:
            fits[scene.views[probe.view].name] = scene.views[probes[best].view].name
    return CameraOrder(fits=fits, cameras=len(probes))


def _error(image: Tensor, other: Probe) -> float:
    return squared_error(image, other.truth) if image.shape == other.truth.shape else 1.0
