"""Bilinear look-up in planes by torch's grid_sample."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import grid_sample


def plain_bilinear(planes: Tensor, coordinates: Tensor) -> Tensor:
    """Values [k, c, 1, n] of planes [k, c, height, width] at coordinates [k, 1, n, 2] in -1 ... 1, x before y.

    Corners lie at -1 and 1; outside, edges go on.
    """
    return grid_sample(planes, coordinates, padding_mode="border", align_corners=True)
