"""4DGaussians' regularisers of its feature planes in plain PyTorch: smoothness, and time planes near one."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from experts.fourdgaussians.planes import TIME_PLANES, HexPlanes
from experts.fourdgaussians.recipe import PlaneWeights


def plain_plane_regulariser(grid: HexPlanes, weights: PlaneWeights) -> Tensor:
    """Weighted sum over levels and planes of roughness, and of mean |1 - plane| of planes with time; a scalar.

    So 4DGaussians' code (Wu et al., CVPR 2024) sums K-Planes' regularisers (Fridovich-Keil et al., CVPR 2023):
    smoothness along time, the same along space, and sparse transients.
    """
    terms = []
    for level in grid.grids:
        for index, plane in enumerate(cast(nn.ParameterList, level)):
            if index in TIME_PLANES:
                terms.append(weights.time * roughness(plane, dim=2))
                terms.append(weights.still * (1 - plane).abs().mean())
            else:
                terms.append(weights.space * roughness(plane, dim=2))
                if weights.smooth_both_axes:
                    terms.append(weights.space * roughness(plane, dim=3))
    return torch.stack(terms).sum()


def roughness(plane: Tensor, *, dim: int) -> Tensor:
    """Mean squared second difference of neighbouring cells along an axis, 0 of fewer than 3 cells."""
    squared = plane.diff(n=2, dim=dim).square()
    return squared.sum() / max(squared.numel(), 1)
