"""Vectors of length 1 as one function, with a gradient written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SMALLEST = 1e-12  # length by which shorter vectors are divided, as by torch.nn.functional.normalize


def fused_unit(vectors: Tensor) -> Tensor:
    """`plain_unit`: vectors [..., k] over their lengths."""
    units: Tensor = _Unit.apply(vectors)
    return units


class _Unit(torch.autograd.Function):
    """With u = v / |v|, the gradient of v is (du - u (u . du)) / |v|; that of zero is du over the smallest length."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_(min=SMALLEST)
        units = vectors / lengths
        ctx.save_for_backward(units, lengths)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        units, lengths = ctx.saved_tensors
        along = (gradient * units).sum(dim=-1, keepdim=True)
        return torch.addcmul(gradient, units, along, value=-1).div_(lengths)
