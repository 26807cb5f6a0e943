"""Trunk and heads in few launches: several networks as one function with a gradient written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from common.gradients import rows_with_gradients
from common.maths.activations import through_relu_
from experts.base import Precision
from experts.canonical.precision import half_type, networks_in, precision_now

# Rows whose activations are alive at once. On a CPU they stay in the cache; on a GPU few large kernels are what counts,
# and the bound is for memory (0.7 GB at the published width, by all networks together).
_ROWS_ON_CPU, _ROWS_ON_GPU = 512, 1 << 18
# Rows from which a GPU's pass back leaves out those without gradients (docs/dev/expert_training.md). Products in TF32
# take less time than counting the rows.
_FEWEST_TO_PICK: dict[Precision, int] = {"float32": 1 << 17}

Affine = tuple[Tensor, Tensor]  # weight [outputs, inputs] and bias [outputs] of a linear layer


def fused_heads(inputs: Tensor, before: nn.Module, heads: Sequence[nn.Module]) -> list[Tensor]:
    """`plain_heads`: head(before(inputs)) [n, outputs] of every head, of inputs [n, k]."""
    return fused_networks(inputs, [(weight[None], bias[None]) for weight, bias in affine_layers(before)], [heads])


def fused_networks(inputs: Tensor, trunks: Sequence[Affine], heads: Sequence[Sequence[nn.Module]]) -> list[Tensor]:
    """Sums over s networks of what their heads give: one [n, outputs] tensor per head, all of inputs [n, k].

    trunks: the trunks' layers, stacked: weights [s, outputs, inputs], biases [s, outputs]. heads: each network's, of
    the same sizes in all. The heads' first layers see the same vector, so that they are one matrix product.
    """
    count = len(heads)
    firsts, lasts = zip(*(affine_layers(head) for network in heads for head in network), strict=True)
    weight, bias = (torch.cat(tensors).unflatten(0, (count, -1)) for tensors in zip(*firsts, strict=True))
    ends, end_biases = zip(*lasts, strict=True)
    end_bias = torch.cat(end_biases) if count == 1 else torch.cat(end_biases).view(count, -1).sum(0)
    layers = [tensor for layer in (*trunks, (weight, bias)) for tensor in layer]
    given = [inputs, end_bias, *layers, *ends]
    half = None if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given) else half_type()
    inputs, end_bias, *tensors = given if half is None else [tensor.to(half) for tensor in given]
    rows = _ROWS_ON_CPU if inputs.device.type == "cpu" else _ROWS_ON_GPU // count
    chunks = inputs.split(rows) if len(inputs) > rows else (inputs,)
    parts = [_Networks.apply(len(layers), chunk, end_bias, *tensors) for chunk in chunks]
    joined = [part[0] if len(part) == 1 else torch.cat(part) for part in zip(*parts, strict=True)]
    return joined if half is None else [values.to(given[0].dtype) for values in joined]


def affine_layers(network: nn.Module) -> list[Affine]:
    """Weight and bias of every linear layer of a trunk or head, in their order."""
    return [(layer.weight, layer.bias) for layer in network.children() if isinstance(layer, nn.Linear)]


class _Networks(torch.autograd.Function):
    """Layers with a ReLU each, stacked by network; then the heads' last layers, added up over the networks.

    Derived by hand, since the number of kernels is what bounds training on a GPU: here products are written, or added,
    to where they belong, and a sum serves all networks.
    """

    @staticmethod
    def forward(ctx: Any, split: int, inputs: Tensor, end_bias: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        (weight, *weights), (bias, *biases), ends = tensors[:split:2], tensors[1:split:2], tensors[split:]
        first = torch._addmm_activation(bias.flatten(), inputs, weight.flatten(0, 1).t())
        hidden = [first.unflatten(1, bias.shape).transpose(0, 1)]  # [s, n, width]
        for weight, bias in zip(weights, biases, strict=True):
            hidden.append(inputs.new_empty(len(weight), len(inputs), weight.shape[1]))
            for one in range(len(weight)):
                layer = bias[one], hidden[-2][one], weight[one].t()
                torch.ops.aten._addmm_activation.out(*layer, out=hidden[-1][one])
        values = _by_head(hidden[-1], ends)
        heads = len(ends) // len(hidden[-1])
        pieces = end_bias.split([len(end) for end in ends[:heads]])
        outputs = [linear(*layer) for layer in zip(values[:heads], ends[:heads], pieces, strict=True)]
        for index in range(heads, len(ends)):
            outputs[index % heads].addmm_(values[index], ends[index].t())
        ctx.split, ctx.layers, ctx.precision = split, len(hidden), precision_now()
        ctx.save_for_backward(inputs, *hidden, *tensors)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *saved = ctx.saved_tensors
        hidden, tensors = saved[: ctx.layers], saved[ctx.layers :]
        layers = tensors[: ctx.split : 2], tensors[ctx.split :]
        rows = rows_with_gradients(gradients, fewest_on_gpu=_FEWEST_TO_PICK.get(ctx.precision))
        with networks_in(ctx.precision):  # as forward: the caller's context is over
            if rows is None:
                return None, *_gradients(inputs, hidden, *layers, gradients)
            shown = [values.index_select(1, rows) for values in hidden]
            above = [gradient.index_select(0, rows) for gradient in gradients]
            of_inputs, *others = _gradients(inputs.index_select(0, rows), shown, *layers, above)
            return None, torch.zeros_like(inputs).index_copy_(0, rows, of_inputs), *others


def _gradients(
    inputs: Tensor, hidden: Sequence[Tensor], weights: Sequence[Tensor], ends: Sequence[Tensor], above: Sequence[Tensor]
) -> list[Tensor]:
    """Gradients of the inputs, of the heads' biases, and of the tensors of `_Networks`, from those of its outputs."""
    pairs = list(zip([*above] * (len(ends) // len(above)), _by_head(hidden[-1], ends), strict=True))
    of_ends = [gradient.t() @ values for gradient, values in pairs]
    of_hidden = torch.empty_like(hidden[-1])
    for (gradient, _), end, own in zip(pairs, ends, _by_head(of_hidden, ends), strict=True):
        torch.mm(gradient, end, out=own)
    of_layers: list[Tensor] = []
    for weight, values, below in zip(weights[:0:-1], hidden[:0:-1], hidden[-2::-1], strict=True):
        through_relu_(of_hidden, values)
        of_weight = torch.empty_like(weight)
        for one in range(len(weight)):  # a batched product would not share the long sum among a GPU's cores
            torch.mm(of_hidden[one].t(), below[one], out=of_weight[one])
        of_layers[:0] = of_weight, of_hidden.sum(1)
        of_hidden = torch.bmm(of_hidden, weight, out=torch.empty_like(below))
    flat, weight = through_relu_(of_hidden, hidden[0]).transpose(0, 1).flatten(1), weights[0]
    of_layers[:0] = (flat.t() @ inputs).view_as(weight), flat.sum(0).view(weight.shape[:2])
    of_bias = torch.cat(list(above), dim=1).sum(0)
    return [flat @ weight.flatten(0, 1), of_bias, *of_layers, *of_ends]


def _by_head(hidden: Tensor, ends: Sequence[Tensor]) -> list[Tensor]:
    """Inputs of the last layers, network by network, out of hidden values [s, n, sum of widths]."""
    widths = [end.shape[1] for end in ends[: len(ends) // len(hidden)]]
    return [values for network in hidden for values in network.split(widths, dim=1)]
