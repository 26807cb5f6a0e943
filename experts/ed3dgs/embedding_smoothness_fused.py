"""E-D3DGS's embedding smoothness in few launches, derived by hand, with gradients of the same bits run after run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from common.maths.tensors import constant
from experts.ed3dgs.embedding_smoothness import FLOOR, Neighbourhood


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Neighbourhood):
    """k neighbours of each of n Gaussians, and the same pairs sorted by the neighbour."""

    roots: Tensor  # [k, n] of the strengths
    order: Tensor  # [k n] int64 numbers of the pairs, sorted
    starts: Tensor  # [n + 1] int64 where in `order` each Gaussian's begin


@torch.no_grad()
def pairs_of(near: Neighbourhood, parts: int) -> tuple[Pairs, ...]:
    """The neighbours in `parts` parts, a divisor of their number: part i has every `parts`-th from number i on."""
    k, n = near.indices.shape
    indices, strengths = (
        values.view(k // parts, parts, n).transpose(0, 1).contiguous() for values in (near.indices, near.strengths)
    )
    by_neighbour = torch.sort(indices.flatten(1), dim=1, stable=True)
    firsts = torch.arange(n + 1, device=indices.device).expand(parts, -1).contiguous()
    each = (indices, strengths, strengths.sqrt(), by_neighbour.indices, torch.searchsorted(by_neighbour.values, firsts))
    names = ("indices", "strengths", "roots", "order", "starts")
    return tuple(Pairs(**dict(zip(names, part, strict=True))) for part in zip(*each, strict=True))


def fused_smoothness(embeddings: Tensor, pairs: Pairs) -> Tensor:
    """`plain_smoothness` of embeddings [n, c], a scalar whose gradient reaches them.

    The mean over all parts of `pairs_of` is the mean over all pairs.
    """
    if pairs.indices.numel() == 0:
        return embeddings.sum() * 0.0
    mean: Tensor = _MeanLength.apply(embeddings, pairs)
    return mean


class _MeanLength(torch.autograd.Function):
    """With l = sqrt(s |e_j - e_i|^2 + floor^2), dl / de_j = s (e_j - e_i) / l = -dl / de_i.

    Sums over stretches of sorted pairs have the same bits run after run, on a CPU and on a GPU; index_add does not. A
    look-up's derivative has too, but sorts each time.
    """

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, pairs: Pairs) -> Tensor:
        differences = embedding(pairs.indices, embeddings).sub_(embeddings)
        lengths = torch.linalg.vector_norm(differences, dim=2).mul_(pairs.roots)
        lengths.hypot_(constant((FLOOR,), lengths.dtype, lengths.device))
        ctx.pairs = pairs
        ctx.save_for_backward(differences.mul_((pairs.strengths / lengths)[..., None]))
        return lengths.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (each,), pairs = ctx.saved_tensors, ctx.pairs
        pulls = each.flatten(0, 1).index_select(0, pairs.order)
        sums = torch.segment_reduce(pulls, "sum", offsets=pairs.starts, unsafe=True)
        return sums.sub_(each.sum(0)).mul_(gradient / pairs.indices.numel()), None
