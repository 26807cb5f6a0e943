"""What 4DGaussians asks of its feature planes besides the pictures: smoothness, and time planes near one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..fourdgaussians_planes import MOVING, STILL, HexPlanes

_HEIGHT, _WIDTH = 2, 3  # dimensions of a plane: its second axis, then its first


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneWeights:
    """Weights of the plane regularisers; the defaults are 4DGaussians' for N3V.

    smooth_both_axes: planes of space are smoothed along both of their axes. Upstream does it along the height alone: y
    of the plane xy, z of xz and yz, never x.
    """

    space: float = 2e-4  # roughness of planes without time
    time: float = 1e-3  # roughness of planes with time, along time
    still: float = 1e-4  # distance of planes with time from one, where they change nothing
    smooth_both_axes: bool = False


def plane_regulariser(grid: HexPlanes, weights: PlaneWeights) -> Tensor:
    """Weighted sum over levels and planes of roughness, and of mean |1 - plane| of planes with time (4DGaussians)."""
    total = grid.get_buffer("aabb").new_zeros(())
    for level in grid.grids:
        planes = cast(nn.ParameterList, level)
        for index in STILL:
            total = total + weights.space * _space_roughness(planes[index], both=weights.smooth_both_axes)
        for index in MOVING:
            total = total + weights.time * roughness(planes[index], _HEIGHT)
            total = total + weights.still * (1 - planes[index]).abs().mean()
    return total


def _space_roughness(plane: Tensor, *, both: bool) -> Tensor:
    along_height = roughness(plane, _HEIGHT)
    return along_height + roughness(plane, _WIDTH) if both else along_height


def roughness(plane: Tensor, axis: int) -> Tensor:
    """Mean squared second difference of a plane [1, channels, height, width] along an axis; 0 of fewer than 3 cells."""
    cells = plane.shape[axis] - 2
    if cells < 1:
        return plane.new_zeros(())
    slope = plane.diff(dim=axis)
    return torch.nn.functional.mse_loss(slope.narrow(axis, 1, cells), slope.narrow(axis, 0, cells))
