"""Compares a plain function with its fused version: the values of both, and the gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def assert_same(
    plain: Callable[[], Tensor | Sequence[Tensor]],
    fused: Callable[[], Tensor | Sequence[Tensor]],
    learned: Sequence[Tensor],
    *,
    atol: float,
) -> None:
    """Both give the same tensors, and the same gradients of `learned` where every value has a random weight.

    atol: for each tensor times its largest value, or 1 where that is less.
    """
    expected, found = results(plain, learned), results(fused, learned)
    assert all(gradient.abs().max() > 0 for gradient in expected[-len(learned) :])  # else there is nothing to compare
    for theirs, ours in zip(expected, found, strict=True):
        scale = max(float(theirs.abs().max()), 1.0)
        torch.testing.assert_close(ours, theirs, atol=atol * scale, rtol=0)


def results(function: Callable[[], Tensor | Sequence[Tensor]], learned: Sequence[Tensor]) -> list[Tensor]:
    """Values, then gradients."""
    values = function()
    values = [values] if isinstance(values, Tensor) else list(values)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in values]
    return [*(value.detach() for value in values), *torch.autograd.grad(values, learned, weights)]
