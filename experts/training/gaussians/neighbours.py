"""Nearest neighbours among points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def nearest_neighbours(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances [n, k] (not squared, rising) and indices [n, k] int64 of the k points nearest to each of points [n, 3].

    A point is no neighbour of itself, but another one at the same place is, at 0 (as in simple-knn, which 3DGS uses).
    With k or fewer points there are only n - 1 columns. Computed on the CPU in float64; comes back on the points'
    device, distances in their type. ValueError where a point is not finite.
    """
    from scipy.spatial import cKDTree  # here: importing it takes as long as all experts, and rendering needs none

    count = points.shape[0]
    columns = max(0, min(k, count - 1))
    if columns == 0:
        return points.new_zeros(count, 0), torch.zeros(count, 0, dtype=torch.int64, device=points.device)
    places = points.detach().cpu().double().numpy()
    if not np.isfinite(places).all():
        raise ValueError(
            f"{int((~np.isfinite(places)).any(1).sum())} of {count} points are not finite; drop them first"
        )
    distances, indices = cKDTree(places).query(places, k=columns + 1, workers=-1)
    others = indices != np.arange(count)[:, None]
    others[others.all(1), -1] = False  # more points at one place than were asked for: itself is not among them
    distances, indices = distances[others].reshape(count, columns), indices[others].reshape(count, columns)
    return torch.from_numpy(distances).to(points), torch.from_numpy(indices).to(points.device, torch.int64)
