"""Gaussians from a coloured point cloud: the start every 3DGS-style trainer uses."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.training.gaussians.neighbours import nearest_neighbours

SH_0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))


def neighbour_log_scales(points: Tensor, *, neighbours: int = 3) -> Tensor:
    """Log of the root mean squared distance of each point [n, 3] to its nearest neighbours; [n, 3], isotropic.

    3DGS's rule (its simple-knn): squared distances below 1e-7 count as 1e-7, the point itself does not count.
    """
    distances, _ = nearest_neighbours(points, neighbours)
    if distances.shape[1] == 0:
        return points.new_zeros(points.shape[0], 3)
    return distances.square().mean(1).clamp_min(1e-7).sqrt().log()[:, None].repeat(1, 3)


def sh_from_colours(colours: Tensor) -> Tensor:
    """SH of degree 3 [n, 16, 3] that show colours [n, 3] in 0 ... 1 from every side."""
    sh = colours.new_zeros(colours.shape[0], 16, 3)
    sh[:, 0] = (colours - 0.5) / SH_0
    return sh


def identity_quats(count: int) -> Tensor:
    """Quaternions wxyz [count, 4] of no rotation."""
    return torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1)


def logits(count: int, opacity: float = 0.1) -> Tensor:
    """Opacity logits [count] of one opacity."""
    return torch.full((count,), opacity).logit()
