"""4DGaussians' HexPlane features in plain PyTorch: products of planes through space and time (Wu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from experts.fourdgaussians.bilinear_look_up import plain_bilinear

TIME_AXIS = 3
PLANES = tuple(combinations(range(4), 2))  # axes of each plane; x y z t are 0 1 2 3
SPACE_PLANES = tuple(index for index, axes in enumerate(PLANES) if TIME_AXIS not in axes)
TIME_PLANES = tuple(index for index, axes in enumerate(PLANES) if TIME_AXIS in axes)  # time is their second axis


class HexPlanes(nn.Module):
    """Feature planes at several resolutions, under the names 4DGaussians gives them in deformation.pth."""

    def __init__(self, *, channels: int, resolutions: Sequence[Sequence[int]]) -> None:
        """resolutions: per level those of x, y, z and t. The box starts as the unit cube; set `aabb` to the scene's."""
        super().__init__()
        self.register_buffer("aabb", torch.tensor([[1.0] * 3, [-1.0] * 3]))  # [2, 3]: the largest corner first
        self.grids = nn.ModuleList(
            nn.ParameterList(torch.empty(1, channels, level[second], level[first]) for first, second in PLANES)
            for level in resolutions
        )

    def forward(self, points: Tensor, time: float) -> Tensor:
        """Features [n, channels x levels] of points [n, 3] at a time in -1 ... 1; outside, the planes' edges go on.

        Per level the product over the six planes of a bilinear look-up, levels side by side (4DGaussians,
        "Spatial-Temporal Structure Encoder"). Time is not rescaled to the planes: frames cover 0 ... 1, the upper half
        of them.
        """
        centre, scale = self.centre_and_scale()
        inside = (points - centre) * scale
        coordinates = torch.cat([inside, torch.full_like(inside[:, :1], time)], dim=1)  # [n, 4]
        levels = []
        for planes in self.grids:
            values = [
                plain_bilinear(plane, coordinates[None, None][..., axes])
                for plane, axes in zip(cast(nn.ParameterList, planes), PLANES, strict=True)
            ]  # six of [1, channels, 1, n]
            levels.append(reduce(torch.mul, values))
        return torch.cat(levels, dim=1)[0, :, 0].t()

    def centre_and_scale(self) -> tuple[Tensor, Tensor]:
        """Centre and scale: (point - centre) * scale is -1 at the box's largest corner, 1 at its smallest."""
        largest, smallest = self.get_buffer("aabb")
        return (largest + smallest) / 2, 2 / (smallest - largest)


class EmptyVoxel(nn.Module):
    """A grid over the scene that fades residuals where nothing moves (4DGaussians' option empty_voxel)."""

    def __init__(self, *, size: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("xyz_min", torch.zeros(3))
        self.register_buffer("xyz_max", torch.ones(3))
        self.grid = nn.Parameter(torch.ones(1, 1, *size))

    def forward(self, points: Tensor) -> Tensor:
        """Factors [n, 1] at points [n, 3]: trilinear, 0 outside."""
        low, high = self.get_buffer("xyz_min"), self.get_buffer("xyz_max")
        coordinate = ((points - low) / (high - low)).flip(-1) * 2 - 1  # the grid's last axis is z
        return grid_sample(self.grid, coordinate.reshape(1, -1, 1, 1, 3), align_corners=True).reshape(-1, 1)
