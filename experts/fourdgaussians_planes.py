"""HexPlane features of 4DGaussians: products of planes through space and time (Wu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from .kept import Kept

TIME = 3
PLANES = tuple(combinations(range(4), 2))  # axes of each plane; x y z t are 0 1 2 3
STILL = tuple(index for index, axes in enumerate(PLANES) if TIME not in axes)
MOVING = tuple(index for index, axes in enumerate(PLANES) if TIME in axes)  # time is their second axis


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
        self._still: Kept[list[Tensor]] = Kept()

    def forward(self, points: Tensor, time: float) -> Tensor:
        """Features [n, channels x levels] of points [n, 3] at a time in -1 ... 1; outside, the planes' edges go on.

        Per level the product over the six planes of a bilinear look-up (4DGaussians). Time is not rescaled to the
        planes: frames cover 0 ... 1, the upper half of them. Time planes are read at the time first, which leaves
        lines; what the others give is computed once for a frozen model.
        """
        aabb = self.get_buffer("aabb")
        inside = (points - aabb[0]) * (2 / (aabb[1] - aabb[0])) - 1
        levels = [cast(nn.ParameterList, planes) for planes in self.grids]
        sources = [points, aabb, *(planes[index] for planes in levels for index in STILL)]
        still = self._still.of(sources, lambda: [_still_features(planes, inside) for planes in levels])
        moving = [_moving_features(planes, inside, time) for planes in levels]
        features = torch.cat([torch.mul(*both) for both in zip(still, moving, strict=True)], dim=1)
        return features.flatten(0, 2).t()


def _still_features(planes: nn.ParameterList, inside: Tensor) -> Tensor:
    """Product [1, channels, 1, n] of what the planes without time give."""
    return reduce(torch.mul, [_look_up(planes[index], inside[:, PLANES[index]]) for index in STILL])


def _moving_features(planes: nn.ParameterList, inside: Tensor, time: float) -> Tensor:
    """Product [1, channels, 1, n] of what the planes with time give."""
    found = []
    for index in MOVING:
        axis, _ = PLANES[index]
        line = _at_time(planes[index], time)
        found.append(_look_up(line, inside[:, axis, None].expand(-1, 2)))  # a line of height 1 ignores the second place
    return reduce(torch.mul, found)


def _at_time(plane: Tensor, time: float) -> Tensor:
    """Line [1, channels, 1, width] that a plane [1, channels, height, width] is at a time; edges go on outside."""
    last = plane.shape[2] - 1
    place = min(max((time + 1) / 2 * last, 0.0), float(last))
    below = min(int(place), max(last - 1, 0))
    above = min(below + 1, last)
    return torch.lerp(plane[:, :, below], plane[:, :, above], place - below).unsqueeze(2)


def _look_up(plane: Tensor, places: Tensor) -> Tensor:
    """Values [1, channels, 1, n] of a plane [1, channels, height, width] at places [n, 2], bilinear."""
    return grid_sample(plane, places[None, None], padding_mode="border", align_corners=True)


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
        place = ((points - low) / (high - low)).flip(-1) * 2 - 1  # the grid's last axis is z
        return grid_sample(self.grid, place.reshape(1, -1, 1, 1, 3), align_corners=True).reshape(-1, 1)
