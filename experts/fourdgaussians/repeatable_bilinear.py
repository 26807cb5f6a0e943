"""Bilinear look-up whose gradients have the same bits run after run, also on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import grid_sample

_BITS = 40  # of a gradient: 2**23 of the largest can be added before 63 bits overflow


def bilinear(planes: Tensor, places: Tensor) -> Tensor:
    """Values [k, c, 1, n] of planes [k, c, height, width] at places [k, 1, n, 2] in -1 ... 1, x before y.

    Corners lie at -1 and 1 (align_corners); outside, edges go on. A GPU adds up grid_sample's gradients of planes in
    whatever order they come; here they are added as whole numbers, where the order does not count.
    """
    if planes.is_cuda and planes.requires_grad and torch.is_grad_enabled():
        return repeatable(planes, places)
    if not planes.is_cuda:
        places = places.nan_to_num()  # a gradient at a place that is no number ends the process
    return grid_sample(planes, places, padding_mode="border", align_corners=True)


def repeatable(planes: Tensor, places: Tensor) -> Tensor:
    """`bilinear` with gradients of planes added as whole numbers, on any device."""
    values = grid_sample(planes.detach(), places, padding_mode="border", align_corners=True)
    found: Tensor = _WithPlanes.apply(values, planes, places.detach())
    return found


class _WithPlanes(torch.autograd.Function):
    """Hands on the values, and their gradients to the planes as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, planes: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.shape = planes.shape
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (places,) = ctx.saved_tensors
        return gradient, _gathered(gradient[:, :, 0], places[:, 0], ctx.shape), None


def _gathered(gradient: Tensor, places: Tensor, shape: Sequence[int]) -> Tensor:
    """Gradients of planes of a shape from those [k, c, n] of values at places [k, n, 2]."""
    cells, shares = _corners(places, shape[2:])
    largest = gradient.abs().amax().clamp(min=torch.finfo(gradient.dtype).tiny)
    scale = torch.exp2((_BITS - largest.log2().ceil()).clamp(max=126))  # a power of two: scaling rounds nothing
    whole = ((gradient * scale).unsqueeze(2) * shares.unsqueeze(1)).long().flatten(2)
    total = whole.new_zeros(shape).flatten(2)
    total.scatter_add_(2, cells.flatten(1).unsqueeze(1).expand_as(whole), whole)
    return (total / scale).view(*shape)


def _corners(places: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Cells (row * width + column) and shares [k, corners, n] of the cells around places [k, n, 2]."""
    cells = torch.zeros_like(places[:, None, :, 0], dtype=torch.long)
    shares = torch.ones_like(places[:, None, :, 0])
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        place = ((places[..., 1 - axis] + 1) * ((size - 1) / 2)).clamp(0, size - 1)
        low = place.long().clamp(0, size - 2)  # below 0 where a place is not a number
        share = place - low
        cells = ((cells * size).unsqueeze(2) + torch.stack([low, low + 1], 1).unsqueeze(1)).flatten(1, 2)
        shares = (shares.unsqueeze(2) * torch.stack([1 - share, share], 1).unsqueeze(1)).flatten(1, 2)
    return cells, shares
