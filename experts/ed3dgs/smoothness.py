"""E-D3DGS's embedding smoothness: Gaussians that are close together shall move alike (Bae et al., ECCV 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding

from common.tensors import constant
from experts.training.neighbours import nearest_neighbours

NEIGHBOURS = 20
_FLOOR = 1e-10  # squared under the root, as E-D3DGS: equal embeddings have gradient 0 instead of 0 / 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """m neighbours of each of n Gaussians, and the same pairs sorted by the neighbour."""

    indices: Tensor  # [m, n] int64
    strengths: Tensor  # [m, n]
    roots: Tensor  # [m, n] of the strengths
    order: Tensor  # [m n] int64 numbers of the pairs, sorted
    starts: Tensor  # [n + 1] int64 where in `order` each Gaussian's begin


@torch.no_grad()
def pairs_of(near: Neighbourhood, parts: int) -> tuple[Pairs, ...]:
    """The neighbours in `parts` parts, a divisor of their number: part i has every `parts`-th from number i on."""
    k, n = near.indices.shape
    indices, strengths = (
        values.view(k // parts, parts, n).transpose(0, 1).contiguous() for values in (near.indices, near.strengths)
    )
    found = torch.sort(indices.flatten(1), dim=1, stable=True)
    firsts = torch.arange(n + 1, device=indices.device).expand(parts, -1).contiguous()
    each = (indices, strengths, strengths.sqrt(), found.indices, torch.searchsorted(found.values, firsts))
    names = ("indices", "strengths", "roots", "order", "starts")
    return tuple(Pairs(**dict(zip(names, part, strict=True))) for part in zip(*each, strict=True))


def smoothness(embeddings: Tensor, pairs: Pairs) -> Tensor:
    """Mean of sqrt(strength) * |difference of embeddings [n, c]| over pairs of neighbours, a scalar.

    The mean over all parts is the mean over all pairs. Its gradient reaches the embeddings.
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
        lengths.hypot_(constant((_FLOOR,), lengths.dtype, lengths.device))
        ctx.pairs = pairs
        ctx.save_for_backward(differences.mul_((pairs.strengths / lengths)[..., None]))
        return lengths.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (each,), pairs = ctx.saved_tensors, ctx.pairs
        pulls = each.flatten(0, 1).index_select(0, pairs.order)
        found = torch.segment_reduce(pulls, "sum", offsets=pairs.starts, unsafe=True)
        return found.sub_(each.sum(0)).mul_(gradient / pairs.indices.numel()), None
