"""4DGaussians' plane regularisers in few launches: planes of one shape together, the gradient by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from common.maths.tensors import constant
from experts.fourdgaussians.planes import TIME_PLANES, HexPlanes
from experts.fourdgaussians.recipe import PlaneWeights


def fused_plane_regulariser(grid: HexPlanes, weights: PlaneWeights) -> Tensor:
    """`plain_plane_regulariser`: the weighted sum over levels and planes, a scalar."""
    alike: dict[_Terms, list[Tensor]] = {}
    for level in grid.grids:
        for index, plane in enumerate(cast(nn.ParameterList, level)):
            alike.setdefault(_terms(plane.shape, weights, moving=index in TIME_PLANES), []).append(plane)
    total: Tensor = _Regulariser.apply(tuple(alike), *(torch.cat(planes) for planes in alike.values()))
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """Factors of planes P of one shape in the sum h |D P|^2 + w |P D'|^2 + d |P - 1|_1, with second differences D."""

    shape: tuple[int, ...]  # of a plane, [1, channels, height, width]
    moving: bool
    along_height: float  # h
    along_width: float  # w, 0 of planes with time
    distance: float  # d, 0 of planes without time


def _terms(shape: Sequence[int], weights: PlaneWeights, *, moving: bool) -> _Terms:
    _, channels, height, width = shape
    roughness = weights.time if moving else weights.space
    both = weights.smooth_both_axes and not moving
    return _Terms(
        shape=tuple(shape),
        moving=moving,
        along_height=roughness / max(channels * (height - 2) * width, 1),
        along_width=roughness / max(channels * height * (width - 2), 1) if both else 0.0,
        distance=weights.still / (channels * height * width) if moving else 0.0,
    )


class _Regulariser(torch.autograd.Function):
    """All planes at once, in few kernels: G = 2 h D'D Q + 2 w Q D'D + d sign(Q), and the sum is (<Q, G> + d |Q|_1) / 2.

    Q is P - 1 of planes with time, which has P's differences, else P. So the gradient of ones is exactly 0 there, which
    matters to Adam: its steps do not shrink with the gradient.
    """

    @staticmethod
    def forward(ctx: Any, terms: Sequence[_Terms], *stacks: Tensor) -> Tensor:
        """stacks: [planes, channels, height, width], one for each of `terms`."""
        moving = [index for index, term in enumerate(terms) if term.moving]
        from_one = torch._foreach_sub([stacks[index] for index in moving], 1.0)
        offsets, signs = list(stacks), [torch.empty_like(stack) for stack in stacks]  # empty where their factor is 0
        for index, offset, sign in zip(moving, from_one, torch._foreach_sign(from_one), strict=True):
            offsets[index], signs[index] = offset, sign
        gradients = [_to_gradient(*each) for each in zip(terms, offsets, signs, strict=True)]
        ctx.save_for_backward(*gradients)
        products = [torch.dot(q.flatten(), g.flatten()) for q, g in zip(offsets, gradients, strict=True)]
        halves = (*(0.5 for _ in terms), *(terms[index].distance / 2 for index in moving))
        sums = torch.stack([*products, *torch._foreach_norm(from_one, 1)])
        return sums.dot(constant(halves, sums.dtype, sums.device))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(ctx.saved_tensors, gradient)


def _to_gradient(term: _Terms, offset: Tensor, signs: Tensor) -> Tensor:
    """Makes the signs of offsets [planes, channels, height, width] the gradient."""
    rows, gradients = offset.flatten(0, 1), signs.flatten(0, 1)
    (count, height, width), like = rows.shape, (rows.dtype, rows.device)
    down = _twice_differences(height, *like).expand(count, -1, -1)
    gradients.baddbmm_(down, rows, beta=term.distance, alpha=2 * term.along_height)
    if term.along_width:
        across = _twice_differences(width, *like).expand(count, -1, -1)
        gradients.baddbmm_(rows, across, alpha=2 * term.along_width)
    return signs


@lru_cache(maxsize=64)
def _twice_differences(cells: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """D'D [cells, cells] of second differences D, made once: copying to a GPU waits for it."""
    with torch.inference_mode(False):  # autograd keeps no tensor that was made in it
        differences = torch.zeros(max(cells - 2, 0), cells, dtype=dtype)
        for offset, weight in enumerate((1.0, -2.0, 1.0)):
            differences.diagonal(offset).fill_(weight)
        return (differences.t() @ differences).to(device)
