"""HexPlane features of 4DGaussians: products of planes through space and time (Wu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from experts.fourdgaussians.repeatable_bilinear import bilinear
from experts.frozen import FrozenCache

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
        self._box: FrozenCache[tuple[Tensor, Tensor]] = FrozenCache()
        self._timeless: FrozenCache[_Timeless] = FrozenCache()

    def forward(self, points: Tensor, time: float) -> Tensor:
        """Features [n, channels x levels] of points [n, 3] at a time in -1 ... 1; outside, the planes' edges go on.

        Per level the product over the six planes of a bilinear look-up (4DGaussians). Time is not rescaled to the
        planes: frames cover 0 ... 1, the upper half of them. Time planes are read at the time first, which leaves
        lines; what does not depend on it is computed once for a frozen model.
        """
        sources = [points, self.get_buffer("aabb"), *self.grids.parameters()]
        timeless = self._timeless.of(sources, lambda: self._without_time(points))
        places = timeless.inside.t()[:, None, :, None].expand(-1, -1, -1, 2)  # a line of height 1 ignores the second
        lines = [[_at_time(plane, time) for plane in planes] for planes in timeless.moving]
        moving = _product([_look_up(level, places) for level in lines])
        return (timeless.still * moving).flatten(0, 1).t()

    def _without_time(self, points: Tensor) -> _Timeless:
        centre, scale = self._box.of([self.get_buffer("aabb")], self._centre_and_scale)
        inside = (points - centre) * scale
        axes = inside.unbind(1)
        places = torch.stack([axes[axis] for index in STILL for axis in PLANES[index]])
        places = places.view(len(STILL), 1, 2, -1).transpose(2, 3)  # [3, 1, n, 2]
        levels = [cast(nn.ParameterList, planes) for planes in self.grids]
        still = _product([_look_up(_joined([planes[index] for index in STILL]), places) for planes in levels])
        moving = [_joined([planes[index] for index in MOVING]) for planes in levels]
        return _Timeless(inside=inside, still=still, moving=moving)

    def _centre_and_scale(self) -> tuple[Tensor, Tensor]:
        """What takes the box to 1 ... -1 when subtracted, then multiplied by: the largest corner becomes -1."""
        largest, smallest = self.get_buffer("aabb")
        return (largest + smallest) / 2, 2 / (smallest - largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timeless:
    """What features at all times share."""

    inside: Tensor  # [n, 3], -1 ... 1 in the box
    still: Tensor  # [channels x levels, 1, n], product of what the planes without time give
    moving: list[Sequence[Tensor]]  # per level the planes with time, as `_joined`


def _joined(planes: Sequence[Tensor]) -> Sequence[Tensor]:
    """Planes [1, channels, height, width] as one tensor where they have one shape: small kernels cost their number."""
    return [torch.cat(list(planes))] if len({plane.shape for plane in planes}) == 1 else planes


def _at_time(planes: Tensor, time: float) -> Tensor:
    """Lines [k, channels, 1, width] that planes [k, channels, height, width] are at a time; edges go on outside."""
    last = planes.shape[2] - 1
    place = min(max((time + 1) / 2 * last, 0.0), float(last))
    below = min(int(place), max(last - 1, 0))
    rows = planes[:, :, below : below + 2].unbind(2)
    return torch.lerp(rows[0], rows[-1], place - below).unsqueeze(2)


def _look_up(planes: Sequence[Tensor], places: Tensor) -> Tensor:
    """Values [k, channels, 1, n] of k planes (`_joined`) at places [k, 1, n, 2] of each, bilinear."""
    if len(planes) == 1:
        return bilinear(planes[0], places)
    return torch.cat([bilinear(plane, place[None]) for plane, place in zip(planes, places, strict=True)])


def _product(levels: Sequence[Tensor]) -> Tensor:
    """Product over planes [channels x levels, 1, n] of what each level's planes give, [planes, channels, 1, n].

    Few kernels, also for the derivative (that of prod is slow), where there is one; else little memory.
    """
    if any(level.requires_grad for level in levels):
        return reduce(torch.mul, torch.cat(list(levels), dim=1).unbind(0))
    return torch.cat([reduce(Tensor.mul_, level.unbind(0)) for level in levels])


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
