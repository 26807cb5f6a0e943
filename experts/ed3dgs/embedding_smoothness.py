"""E-D3DGS's embedding smoothness in plain PyTorch: Gaussians that are close together shall move alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.training.gaussians.neighbours import nearest_neighbours

NEIGHBOURS = 20
FLOOR = 1e-10  # squared under the root, as E-D3DGS: equal embeddings have gradient 0 instead of 0 / 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """Each Gaussian's k nearest others, the nearest first, and how strongly their embeddings are pulled together."""

    indices: Tensor  # [k, n] int64
    strengths: Tensor  # [k, n] in 0 ... 1

    def parts(self, pairs: int | None) -> int:
        """Equal parts in which to take the neighbours so that one has at most `pairs` pairs, or one neighbour each.

        None: all in one.
        """
        k, n = self.indices.shape
        fitting = (parts for parts in range(1, k) if k % parts == 0 and (pairs is None or n * k <= pairs * parts))
        return next(fitting, max(k, 1))


@torch.no_grad()
def neighbourhood(means: Tensor, *, falloff: float, count: int = NEIGHBOURS) -> Neighbourhood:
    """The `count` nearest of means [n, 3], with strengths exp(-falloff d^2) at distances d; fewer in a small model."""
    distances, indices = nearest_neighbours(means.detach(), count)
    strengths = torch.exp(-falloff * distances.square())
    return Neighbourhood(indices=indices.t().contiguous(), strengths=strengths.t().contiguous())


def plain_smoothness(embeddings: Tensor, pairs: Neighbourhood) -> Tensor:
    """Mean of sqrt(strength) * |difference of embeddings [n, c]| over pairs of neighbours, a scalar.

    The local smoothness regularisation of E-D3DGS (Bae et al., ECCV 2024), with the root of its code.
    """
    differences = embeddings[pairs.indices] - embeddings  # [k, n, c]
    squared = pairs.strengths * differences.square().sum(dim=2)
    return (squared + FLOOR**2).sqrt().sum() / max(squared.numel(), 1)
