"""STG's removal of Gaussians by position: before the lenses, and outside the first points' box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.geometry import onto_image, transformed


def near_limits(means: Tensor, cameras: Sequence[Camera], share: float) -> Tensor:
    """Depth [cameras] below which a camera's view should be free: a share of the median depth of what it shows.

    means [n, 3]: the first Gaussians'. 0 for a camera that shows none. STG's code has one limit, world z of 4.5, which
    is a third of the median depth of N3V's points and means nothing in other scenes.
    """
    limits = means.new_zeros(len(cameras))
    for index, camera in enumerate(cameras):
        depths, shown = _depths(means, camera)
        if bool(shown.any()):
            limits[index] = share * depths[shown].median()
    return limits


def stands_close(means: Tensor, cameras: Sequence[Camera], limits: Tensor) -> Tensor:
    """Mask [n] of what all cameras that show it have nearer than their limit, or what no camera has in front of it.

    With cameras around a scene, the floor before one of them is seen by others from farther off, and stays.
    """
    close, far_off = (torch.zeros(len(means), dtype=torch.bool, device=means.device) for _ in range(2))
    behind = torch.ones_like(close)
    for camera, limit in zip(cameras, limits, strict=True):
        depths, shown = _depths(means, camera)
        close |= shown & (depths < limit)
        far_off |= shown & (depths >= limit)
        behind &= depths <= 0
    return (close & ~far_off) | behind


def bounding_box(means: Tensor, margin: float) -> Tensor:
    """Lowest and highest corner [2, 3] of means [n, 3], a share of the box's size farther out at each side."""
    lowest, highest = means.amin(0), means.amax(0)
    return torch.stack([lowest - margin * (highest - lowest), highest + margin * (highest - lowest)])


def outside(means: Tensor, box: Tensor) -> Tensor:
    """Mask [n] of means [n, 3] outside a box [2, 3]."""
    return ((means < box[0]) | (means > box[1])).any(1)


def _depths(means: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Depths [n], and the mask [n] of means that a camera has in front of it within its image."""
    local = transformed(means, camera.world_to_camera.to(means))
    focal, centre = (camera.fx, camera.fy), (camera.cx, camera.cy)
    column, row = onto_image(local, focal, centre, focal_first=True).unbind(1)
    z = local[:, 2]
    return z, (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
