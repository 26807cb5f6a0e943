"""Velocities of moving points: displacements to the points of the next moment that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.training.gaussians.neighbours import nearest_neighbours

_NEIGHBOURS = 3
_FARTHEST = 3.0  # spacings: what is farther off is another thing
_UNLIKE = 0.1  # largest difference of a colour channel of the same thing


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingPoints:
    """Coloured points of one moment."""

    positions: Tensor  # [n, 3]
    colours: Tensor  # [n, 3] in 0 ... 1

    def chosen(self, rows: Tensor) -> MovingPoints:
        """Those of a mask [n] or of indices."""
        return MovingPoints(positions=self.positions[rows], colours=self.colours[rows])


def spacings(positions: Tensor) -> Tensor:
    """Root mean squared distance [n] of points [n, 3] to their three nearest; 0 for a single one."""
    distances, _ = nearest_neighbours(positions, _NEIGHBOURS)
    if distances.shape[1] == 0:
        return positions.new_zeros(len(positions))
    return distances.square().mean(1).sqrt()


def neighbour_velocities(points: MovingPoints, following: MovingPoints, *, gap: float) -> Tensor:
    """Velocities [n, 3] of points by those of another moment, `gap` frames later; negative: earlier. Units per frame.

    The mean over mutual neighbours, points each of which is among the three nearest of the other, over the gap. They
    are no farther apart than three spacings, and no colour channel differs by more than 0.1; 0 where there are none.
    Motion along a surface of one colour is not found. FreeTimeGS's idea, which has no such conditions.
    """
    if len(points.positions) == 0 or len(following.positions) == 0:
        return torch.zeros_like(points.positions)
    _, near = nearest_distances(points.positions, following.positions, count=_NEIGHBOURS)
    _, back = nearest_distances(following.positions, points.positions, count=_NEIGHBOURS)
    steps = following.positions[near] - points.positions[:, None]
    own = torch.arange(len(near), device=near.device)
    mutual = (back[near] == own[:, None, None]).any(2)
    close = steps.norm(dim=2) <= _FARTHEST * spacings(points.positions)[:, None]
    alike = (following.colours[near] - points.colours[:, None]).abs().amax(2) <= _UNLIKE
    weights = (mutual & close & alike).to(steps)
    return (weights[..., None] * steps).sum(1) / weights.sum(1).clamp(min=1)[:, None] / gap


def nearest_distances(points: Tensor, others: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """Distances [n, k] and indices [n, k] of the others [m, 3] nearest to points [n, 3], rising; k: count, at most m.

    Computed on the CPU in float64, as `nearest_neighbours` does among the points of one cloud.
    """
    from scipy.spatial import cKDTree  # here: importing it takes as long as all experts, and rendering needs none

    tree = cKDTree(others.detach().cpu().double().numpy())
    numbers = list(range(1, 1 + min(count, len(others))))
    distances, indices = tree.query(points.detach().cpu().double().numpy(), k=numbers, workers=-1)
    return torch.from_numpy(distances).to(points), torch.from_numpy(indices).to(points.device, torch.int64)
