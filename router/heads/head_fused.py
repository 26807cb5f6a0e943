"""The router head as one function of all layers and experts, with a gradient written by hand: half the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.maths.activations import through_relu_
from router.heads.head import FIRST, SECOND, SPLATTED, SandwichHead

_CHUNK = 4096  # columns whose products are summed at a time: enough chunks to fill a GPU, and each of some length


class FusedSandwichHead(SandwichHead):
    """SandwichHead with the same parameters and, up to rounding, the same logits and gradients."""

    def forward(self, features: Sequence[Tensor], rays: Tensor) -> Tensor:
        """logit = base + layers(directional, temporal, ray) (MoE-GS eq. 7)."""
        seen = rays if self.sees_rays else rays[:0]
        logits: Tensor = _Layers.apply(seen, self.mlp1.weight, self.mlp2.weight, self.mlp3.weight, *features)
        return logits


class _Layers(torch.autograd.Function):
    """Products of the layers' small matrices with the channels of all pixels of all experts, a channel a row."""

    @staticmethod
    def forward(ctx: Any, rays: Tensor, first: Tensor, second: Tensor, third: Tensor, *features: Tensor) -> Tensor:
        experts, (_, height, width) = len(features), features[0].shape
        sizes = SECOND, FIRST, SPLATTED + len(rays)
        seen = features[0].new_empty(sum(sizes), experts * height * width)
        last, hidden, inputs = seen.split(sizes)
        by_expert = inputs.view(-1, experts, height, width)
        torch.stack([values[1:] for values in features], dim=1, out=by_expert[:SPLATTED])
        by_expert[SPLATTED:] = rays[:, None]
        torch.mm(first.flatten(1), inputs, out=hidden).relu_()
        torch.mm(second.flatten(1), hidden, out=last).relu_()
        logits = torch.stack([values[0] for values in features])
        logits.view(1, -1).addmm_(third.flatten(1), last)
        ctx.save_for_backward(first, second, third, seen)
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        first, second, third, seen = ctx.saved_tensors
        experts, height, width = gradient.shape
        last, hidden, _ = seen.split([SECOND, FIRST, first.shape[1]])
        sent = torch.empty_like(seen[: 1 + SECOND + FIRST])  # gradients of the layers' outputs, the last layer's first
        to_third, to_second, to_first = sent.split([1, SECOND, FIRST])
        to_third.copy_(gradient.reshape(1, -1))
        through_relu_(torch.mul(third.view(-1, 1), to_third, out=to_second), last)
        through_relu_(torch.mm(second.flatten(1).t(), to_second, out=to_first), hidden)
        of_features = gradient.new_empty(experts, 1 + SPLATTED, height * width)
        of_features[:, 0] = to_third.view(experts, -1)
        back = first.flatten(1)[:, :SPLATTED].t().expand(experts, -1, -1)
        torch.bmm(back, to_first.view(FIRST, experts, -1).transpose(0, 1), out=of_features[:, 1:])
        of_third, of_second, of_first = _of_weights(sent, seen, [1, SECOND, FIRST], [SECOND, FIRST, first.shape[1]])
        of_weights = of_first.view_as(first), of_second.view_as(second), of_third.view_as(third)
        return None, *of_weights, *of_features.view(experts, -1, height, width)


def _of_weights(sent: Tensor, seen: Tensor, outputs: list[int], inputs: list[int]) -> list[Tensor]:
    """Gradient of each layer's weights, the last layer's first.

    sent: rows of gradients of the layers' outputs; seen: rows of their inputs; outputs, inputs: rows of each layer.
    """
    if sent.device.type == "cpu":
        return [_products(*rows) for rows in zip(sent.split(outputs), seen.split(inputs), strict=True)]
    return _of_weights_together(sent, seen, outputs, inputs)


def _of_weights_together(sent: Tensor, seen: Tensor, outputs: list[int], inputs: list[int]) -> list[Tensor]:
    """The same from one product: cuBLAS computes tiles of 32 x 32, into which those of all layers fit."""
    rows = _products(sent, seen).split(outputs)
    return [of_layer.split(inputs, dim=1)[layer].contiguous() for layer, of_layer in enumerate(rows)]


def _products(a: Tensor, b: Tensor) -> Tensor:
    """a b^T [m, k] of a [m, n] and b [k, n], where n is millions: chunks of columns side by side, then their sum."""
    whole = a.shape[1] // _CHUNK * _CHUNK
    chunks, others = (rows[:, :whole].view(len(rows), -1, _CHUNK).transpose(0, 1) for rows in (a, b))
    total = torch.bmm(chunks, others.transpose(1, 2)).sum(0)
    return total.addmm_(a[:, whole:], b[:, whole:].t())
