"""STG's removal of Gaussians by position: before the lenses, and outside the first points' box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from experts.training.gaussians.visibility import in_image


def stands_close(means: Tensor, cameras: Sequence[Camera], limits: Tensor) -> Tensor:
    """Mask [n] of what all cameras that show it have nearer than their limit, or what no camera has in front of it.

    With cameras around a scene, the floor before one of them is seen by others from farther off, and stays.
    """
    close, far_off = (torch.zeros(len(means), dtype=torch.bool, device=means.device) for _ in range(2))
    behind = torch.ones_like(close)
    for camera, limit in zip(cameras, limits, strict=True):
        depths, _, shown = in_image(means, camera)
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
