"""Vectors of length 1, with a gradient in four launches: torch.nn.functional.normalize takes fifteen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_SMALLEST = 1e-12  # length by which shorter vectors are divided, as by torch.nn.functional.normalize


def unit(vectors: Tensor) -> Tensor:
    """Vectors [..., k] over their lengths; zero vectors stay zero."""
    found: Tensor = _Unit.apply(vectors)
    return found


class _Unit(torch.autograd.Function):
    """With u = v / |v|, the gradient of v is (du - u (u . du)) / |v|; that of zero is du over the smallest length."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_(min=_SMALLEST)
        found = vectors / lengths
        ctx.save_for_backward(found, lengths)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        found, lengths = ctx.saved_tensors
        along = (gradient * found).sum(dim=-1, keepdim=True)
        return torch.addcmul(gradient, found, along, value=-1).div_(lengths)
