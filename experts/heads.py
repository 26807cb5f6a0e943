"""Networks that E-D3DGS and 4DGaussians share: a trunk, then one small head per residual."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

# Rows whose activations are alive at once. On a CPU they stay in the cache; on a GPU few large kernels are what counts,
# and the bound is for memory (0.7 GB at the published width).
_ROWS_ON_CPU, _ROWS_ON_GPU = 512, 1 << 18

Affine = tuple[Tensor, Tensor]  # weight [outputs, inputs] and bias [outputs] of a linear layer


def trunk(inputs: int, width: int, depth: int) -> nn.Sequential:
    """Linear(inputs, width), then (ReLU, Linear(width, width)) depth - 1 times; depths 0 and 1 are the same network."""
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*layers)


def head(width: int, outputs: int) -> nn.Sequential:
    """ReLU, Linear(width, width), ReLU, Linear(width, outputs)."""
    return nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, outputs))


def affine_layers(network: nn.Module) -> list[Affine]:
    """Weight and bias of every linear layer of a trunk or head, in their order."""
    return [(layer.weight, layer.bias) for layer in network.children() if isinstance(layer, nn.Linear)]


def run_heads(inputs: Tensor, trunk_layers: Sequence[Affine], heads: Iterable[nn.Module]) -> list[Tensor]:
    """What every head gives behind the same trunk: one [n, outputs] tensor per head, of inputs [n, k].

    The heads' first layers see the same vector, so that they are one matrix product.
    """
    firsts, lasts = zip(*(affine_layers(head) for head in heads), strict=True)
    widths = [len(bias) for _, bias in firsts]
    wide = torch.cat([weight for weight, _ in firsts]), torch.cat([bias for _, bias in firsts])
    parts = []
    for hidden in inputs.split(_ROWS_ON_CPU if inputs.device.type == "cpu" else _ROWS_ON_GPU):
        for weight, bias in (*trunk_layers, wide):
            hidden = _linear_relu(hidden, weight, bias)
        ends = zip(hidden.split(widths, dim=1), lasts, strict=True)
        parts.append([linear(values, weight, bias) for values, (weight, bias) in ends])
    return [part[0] if len(part) == 1 else torch.cat(part) for part in zip(*parts, strict=True)]


def _linear_relu(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ReLU(values W^T + bias) in one kernel on a GPU, which saves reading and writing the product once more."""
    if torch.is_grad_enabled():
        return linear(values, weight, bias).relu_()
    return torch._addmm_activation(bias, values, weight.t())  # has no derivative
