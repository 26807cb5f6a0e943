"""HexPlane features in few launches: planes of one shape are looked up together, and what is the same only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn

from experts.fourdgaussians.bilinear_look_up import plain_bilinear
from experts.fourdgaussians.bilinear_look_up_fused import repeatable_bilinear
from experts.fourdgaussians.planes import PLANES, SPACE_PLANES, TIME_PLANES, HexPlanes
from experts.frozen import FrozenCache


class FusedHexPlanes(HexPlanes):
    """HexPlanes with the same parameters and, up to rounding, the same features and gradients.

    Planes with time are read at the time first, which leaves lines. What does not depend on time is computed once for a
    frozen model.
    """

    def __init__(self, *, channels: int, resolutions: Sequence[Sequence[int]]) -> None:
        """resolutions: per level those of x, y, z and t."""
        super().__init__(channels=channels, resolutions=resolutions)
        self._box: FrozenCache[tuple[Tensor, Tensor]] = FrozenCache()
        self._timeless: FrozenCache[_Timeless] = FrozenCache()

    def forward(self, points: Tensor, time: float) -> Tensor:
        """Features [n, channels x levels] of points [n, 3] at a time in -1 ... 1; outside, the planes' edges go on."""
        sources = [points, self.get_buffer("aabb"), *self.grids.parameters()]
        timeless = self._timeless.of(sources, lambda: self._without_time(points))
        coordinates = timeless.inside.t()[:, None, :, None].expand(-1, -1, -1, 2)  # height 1 ignores the second
        lines = [[_at_time(plane, time) for plane in planes] for planes in timeless.moving]
        moving = _product([_look_up(level, coordinates) for level in lines])
        return (timeless.still * moving).flatten(0, 1).t()

    def _without_time(self, points: Tensor) -> _Timeless:
        centre, scale = self._box.of([self.get_buffer("aabb")], self.centre_and_scale)
        inside = (points - centre) * scale
        axes = inside.unbind(1)
        coordinates = torch.stack([axes[axis] for index in SPACE_PLANES for axis in PLANES[index]])
        coordinates = coordinates.view(len(SPACE_PLANES), 1, 2, -1).transpose(2, 3)  # [3, 1, n, 2]
        levels = [cast(nn.ParameterList, planes) for planes in self.grids]
        still = _product(
            [_look_up(_joined([planes[index] for index in SPACE_PLANES]), coordinates) for planes in levels]
        )
        moving = [_joined([planes[index] for index in TIME_PLANES]) for planes in levels]
        return _Timeless(inside=inside, still=still, moving=moving)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timeless:
    """Parts that features at all times share."""

    inside: Tensor  # [n, 3], -1 ... 1 in the box
    still: Tensor  # [channels x levels, 1, n], product of what the planes without time give
    moving: list[Sequence[Tensor]]  # per level the planes with time, as `_joined`


def _joined(planes: Sequence[Tensor]) -> Sequence[Tensor]:
    """Planes [1, channels, height, width] as one tensor where they have one shape: small kernels cost their number."""
    return [torch.cat(list(planes))] if len({plane.shape for plane in planes}) == 1 else planes


def _at_time(planes: Tensor, time: float) -> Tensor:
    """Lines [k, channels, 1, width] that planes [k, channels, height, width] are at a time; edges go on outside."""
    last = planes.shape[2] - 1
    coordinate = min(max((time + 1) / 2 * last, 0.0), float(last))
    below = min(int(coordinate), max(last - 1, 0))
    rows = planes[:, :, below : below + 2].unbind(2)
    return torch.lerp(rows[0], rows[-1], coordinate - below).unsqueeze(2)


def _look_up(planes: Sequence[Tensor], coordinates: Tensor) -> Tensor:
    """Values [k, channels, 1, n] of k planes (`_joined`) at coordinates [k, 1, n, 2] of each, bilinear."""
    if len(planes) == 1:
        return bilinear(planes[0], coordinates)
    return torch.cat([bilinear(plane, coordinate[None]) for plane, coordinate in zip(planes, coordinates, strict=True)])


def bilinear(planes: Tensor, coordinates: Tensor) -> Tensor:
    """The choice: `plain_bilinear`; where planes on a GPU learn `repeatable_bilinear`, which has the same values.

    A GPU adds up grid_sample's gradients of planes in whatever order they come.
    """
    if planes.is_cuda and planes.requires_grad and torch.is_grad_enabled():
        return repeatable_bilinear(planes, coordinates)
    if not planes.is_cuda:
        coordinates = coordinates.nan_to_num()  # a gradient at a coordinate that is no number ends the process
    return plain_bilinear(planes, coordinates)


def _product(levels: Sequence[Tensor]) -> Tensor:
    """Product over planes [channels x levels, 1, n] of what each level's planes give, [planes, channels, 1, n].

    Few kernels, also for the derivative (that of prod is slow), where there is one; else little memory.
    """
    if any(level.requires_grad for level in levels):
        return reduce(torch.mul, torch.cat(list(levels), dim=1).unbind(0))
    return torch.cat([reduce(Tensor.mul_, level.unbind(0)) for level in levels])
