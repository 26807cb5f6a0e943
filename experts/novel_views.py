"""Culling at cameras that nobody trained on: what floats before such a camera, and no training camera saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera, Gaussians
from torch import Tensor

CLOSE = 2.0  # a training camera saw a Gaussian from as close, if it is at most so many times as far from it


@dataclass(frozen=True, slots=True, kw_only=True)
class NovelViewCulling:
    """The near plane of novel views, and the training cameras that can speak for what lies before it.

    Gaussians that no training camera saw are not held down by any image. Few of them, close to a new camera, fill its
    picture. Something real close to it is seen by training cameras too, from about as close.
    """

    near: float  # scene units
    world_to_camera: Tensor  # [c, 3, 4]
    pixels: Tensor  # [c, 6]: fx, fy, cx, cy, width, height

    def to(self, device: torch.device) -> NovelViewCulling:
        """The culling on a device."""
        return replace(self, world_to_camera=self.world_to_camera.to(device), pixels=self.pixels.to(device))

    def cull(self, gaussians: Gaussians, camera: Camera) -> Gaussians:
        """Gaussians of a frame, those without opacity that lie before the near plane and that nobody speaks for."""
        means = gaussians.means
        row = camera.world_to_camera[2].to(means)
        depths = means @ row[:3] + row[3]
        before = torch.nonzero((depths > 0) & (depths < self.near))[:, 0]
        if len(before) == 0:
            return gaussians
        unseen = before[~self.seen(means[before], depths[before])]
        return replace(gaussians, opacities=gaussians.opacities.index_fill(0, unseen, 0))

    def seen(self, means: Tensor, depths: Tensor) -> Tensor:
        """Mask [n] of means [n, 3] that a training camera has in its image, at most CLOSE times as far as `depths`."""
        rotation, translation = self.world_to_camera[:, :, :3], self.world_to_camera[:, :, 3]
        x, y, z = (torch.einsum("cij,nj->cin", rotation, means) + translation[:, :, None]).unbind(1)
        fx, fy, cx, cy, width, height = self.pixels.T[:, :, None]
        column, row = fx * x / z + cx, fy * y / z + cy
        inside = (column >= 0) & (column <= width) & (row >= 0) & (row <= height)
        return (inside & (z > 0) & (z <= CLOSE * depths)).any(dim=0)


def novel_view_culling(near: float, cameras: Sequence[Camera], *, device: torch.device) -> NovelViewCulling:
    """The culling with a near plane in scene units, for a rig of training cameras."""
    pixels = [[each.fx, each.fy, each.cx, each.cy, each.width, each.height] for each in cameras]
    return NovelViewCulling(
        near=near,
        world_to_camera=torch.stack([each.world_to_camera[:3] for each in cameras]).float().to(device),
        pixels=torch.tensor(pixels, dtype=torch.float32, device=device),
    )
