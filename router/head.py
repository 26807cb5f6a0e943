"""The per-pixel head that turns splatted routing weights and the view ray into one logit per expert (MoE-GS eq. 7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

HeadKind = Literal["sandwichlite", "sandwichpixel"]
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
RAY_CHANNELS = 6
SPLATTED = 2  # routing weights that the layers see: directional and temporal
FIRST, SECOND = 6, 3  # channels of the hidden layers

_CHUNK = 4096  # columns whose products are summed at a time: enough chunks to fill a GPU, and each of some length


class RouterHead(nn.Module):
    """1x1 layers (2 or 8)-6-3-1 with ReLU between and no biases, shared by all experts; logit = base + output.

    "sandwichlite" sees (directional, temporal, ray), "sandwichpixel" (directional, temporal). Parameter names and
    shapes are those of MoE-GS's released head, so its files load.
    """

    def __init__(self, kind: HeadKind = "sandwichlite") -> None:
        super().__init__()
        if kind not in HEAD_KINDS:
            raise ValueError(f"router head {kind!r} is unknown: use one of {', '.join(HEAD_KINDS)}")
        self.kind = kind
        inputs = SPLATTED + (RAY_CHANNELS if kind == "sandwichlite" else 0)
        self.mlp1 = nn.Conv2d(inputs, FIRST, 1, bias=False)
        self.mlp2 = nn.Conv2d(FIRST, SECOND, 1, bias=False)
        self.mlp3 = nn.Conv2d(SECOND, 1, 1, bias=False)

    def forward(self, features: Iterable[Tensor], rays: Tensor) -> Tensor:
        """Logits [E, h, w] from every expert's splatted features [3, h, w] and the camera's rays [6, h, w].

        Gradients reach the features and the weights; the rays are constants.
        """
        weights = (layer.weight for layer in (self.mlp1, self.mlp2, self.mlp3))
        seen = rays if self.kind == "sandwichlite" else rays[:0]
        logits: Tensor = _Head.apply(seen, *weights, *features)
        return logits


class _Head(torch.autograd.Function):
    """All layers of all experts: products of small matrices with every pixel's channels, a channel a row."""

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
        sent = torch.empty_like(seen[: 1 + SECOND + FIRST])
        to_third, to_second, to_first = sent.split([1, SECOND, FIRST])
        to_third.copy_(gradient.reshape(1, -1))
        _where_positive(torch.mul(third.view(-1, 1), to_third, out=to_second), last)
        _where_positive(torch.mm(second.flatten(1).t(), to_second, out=to_first), hidden)
        of_features = gradient.new_empty(experts, 1 + SPLATTED, height * width)
        of_features[:, 0] = to_third.view(experts, -1)
        back = first.flatten(1)[:, :SPLATTED].t().expand(experts, -1, -1)
        torch.bmm(back, to_first.view(FIRST, experts, -1).transpose(0, 1), out=of_features[:, 1:])
        of_third, of_second, of_first = _of_weights(sent, seen, [1, SECOND, FIRST], [SECOND, FIRST, first.shape[1]])
        of_weights = of_first.view_as(first), of_second.view_as(second), of_third.view_as(third)
        return None, *of_weights, *of_features.view(experts, -1, height, width)


def _where_positive(gradient: Tensor, values: Tensor) -> None:
    """ReLU's backward pass, in place."""
    torch.ops.aten.threshold_backward.grad_input(gradient, values, 0, grad_input=gradient)


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
