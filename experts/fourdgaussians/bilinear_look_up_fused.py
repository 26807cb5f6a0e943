"""Bilinear look-up whose gradients, written by hand, have the same bits run after run, on a GPU as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.gradients import rows_with_gradients
from experts.fourdgaussians.bilinear_look_up import plain_bilinear

_BITS = 40  # of a gradient: 2**23 of the largest can be added before 63 bits overflow


def repeatable_bilinear(planes: Tensor, coordinates: Tensor) -> Tensor:
    """`plain_bilinear` with gradients of planes added as whole numbers, where the order does not count; any device."""
    values = plain_bilinear(planes.detach(), coordinates)
    with_gradients: Tensor = _WithPlanes.apply(values, planes, coordinates.detach())
    return with_gradients


class _WithPlanes(torch.autograd.Function):
    """Hands on the values, and their gradients to the planes as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, planes: Tensor, coordinates: Tensor) -> Tensor:
        ctx.save_for_backward(coordinates)
        ctx.shape = planes.shape
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (coordinates,) = ctx.saved_tensors
        return gradient, _gathered(gradient[:, :, 0], coordinates[:, 0], ctx.shape), None


def _gathered(gradient: Tensor, coordinates: Tensor, shape: Sequence[int]) -> Tensor:
    """Gradients of planes of a shape from those [k, c, n] of values at coordinates [k, n, 2]."""
    if not gradient.numel():
        return gradient.new_zeros(shape)
    largest = gradient.abs().amax().clamp(min=torch.finfo(gradient.dtype).tiny)
    scale = torch.exp2((_BITS - largest.log2().ceil()).clamp(max=126))  # a power of two: scaling rounds nothing
    rows = rows_with_gradients([gradient.flatten(0, 1).t()])
    if rows is not None:
        gradient, coordinates = gradient.index_select(2, rows), coordinates.index_select(1, rows)
    cells, shares = _corners(coordinates, shape[2:])
    whole = ((gradient * scale).unsqueeze(2) * shares.unsqueeze(1)).long().flatten(2)
    total = whole.new_zeros(shape).flatten(2)
    total.scatter_add_(2, cells.flatten(1).unsqueeze(1).expand_as(whole), whole)
    return (total / scale).view(*shape)


def _corners(coordinates: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Cells (row * width + column) and shares [k, corners, n] of the cells around coordinates [k, n, 2]."""
    cells = torch.zeros_like(coordinates[:, None, :, 0], dtype=torch.long)
    shares = torch.ones_like(coordinates[:, None, :, 0])
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        coordinate = ((coordinates[..., 1 - axis] + 1) * ((size - 1) / 2)).clamp(0, size - 1)
        low = coordinate.long().clamp(0, size - 2)  # below 0 where a coordinate is not a number
        share = coordinate - low
        cells = ((cells * size).unsqueeze(2) + torch.stack([low, low + 1], 1).unsqueeze(1)).flatten(1, 2)
        shares = (shares.unsqueeze(2) * torch.stack([1 - share, share], 1).unsqueeze(1)).flatten(1, 2)
    return cells, shares
