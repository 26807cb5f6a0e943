"""E-D3DGS's embedding smoothness: Gaussians that are close together shall move alike (Bae et al., ECCV 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from .points import nearest

NEIGHBOURS = 20
_FLOOR = 1e-20  # under the root, as E-D3DGS: equal embeddings have gradient 0 instead of 0 / 0


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
    distances, indices = nearest(means.detach(), count)
    strengths = torch.exp(-falloff * distances.square())
    return Neighbourhood(indices=indices.t().contiguous(), strengths=strengths.t().contiguous())


def smoothness(embeddings: Tensor, near: Neighbourhood, *, part: int = 0, parts: int = 1) -> Tensor:
    """Mean of sqrt(strength) * |difference of embeddings [n, c]| over all pairs of neighbours, a scalar.

    Or over every `parts`-th neighbour, from number `part` on; where `parts` divides their number, the mean over all
    parts is the whole. Its gradient reaches the embeddings.
    """
    indices, strengths = near.indices[part::parts], near.strengths[part::parts]
    if indices.numel() == 0:
        return embeddings.sum() * 0.0
    mean: Tensor = _MeanLength.apply(embeddings, indices, strengths)
    return mean


class _MeanLength(torch.autograd.Function):
    """With l = sqrt(s |e_j - e_i|^2 + floor), dl / de_j = s (e_j - e_i) / l = -dl / de_i.

    A look-up's derivative gives the same bits run after run, on a CPU and on a GPU; index_add does not.
    """

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, indices: Tensor, strengths: Tensor) -> Tensor:
        differences = embedding(indices, embeddings).sub_(embeddings)
        squares = torch.linalg.vector_norm(differences, dim=2).square_()
        lengths = squares.mul_(strengths).add_(_FLOOR).sqrt_()
        ctx.save_for_backward(differences, indices, strengths / lengths)
        return lengths.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        differences, indices, factors = ctx.saved_tensors
        each = differences * (factors * (gradient / factors.numel()))[..., None]
        count = differences.shape[1]
        found = torch.ops.aten.embedding_dense_backward(each, indices, count, -1, False)
        return found.sub_(each.sum(0)), None, None
