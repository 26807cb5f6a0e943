"""E-D3DGS's residuals in few launches: what all Gaussians share at a time is computed once, networks run together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from experts.canonical.heads_fused import Affine, affine_layers, fused_networks


def fused_residuals(
    embeddings: Tensor, temporal: Tensor, trunks: Sequence[nn.Module], heads: Sequence[Sequence[nn.Module]]
) -> list[Tensor]:
    """`plain_residuals`: sums over s networks of what their heads give, one [n, outputs] tensor per head."""
    firsts, *rest = zip(*map(affine_layers, trunks), strict=True)
    layers = [layers_at_time(firsts, temporal), *map(_stacked, rest)]
    return fused_networks(embeddings, layers, heads)


def _stacked(layers: Sequence[Affine]) -> Affine:
    weights, biases = zip(*layers, strict=True)
    return torch.stack(weights), torch.stack(biases)


def layers_at_time(layers: Sequence[Affine], temporal: Tensor) -> Affine:
    """s layers on [temporal, embedding] as ones on the embedding: for every Gaussian the time adds the same.

    temporal: [s, t]. Gives weights [s, outputs, inputs - t] and biases [s, outputs].
    """
    weight, bias = _LayersAtTime.apply(temporal, *(tensor for layer in layers for tensor in layer))
    return weight, bias


class _LayersAtTime(torch.autograd.Function):
    """A slice's derivative would be a matrix of zeros first, one for each half of a layer's inputs."""

    @staticmethod
    def forward(ctx: Any, temporal: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        weights, split = tensors[::2], temporal.shape[1]
        bias = torch.stack(tensors[1::2])
        for own, weight, values in zip(bias, weights, temporal, strict=True):
            own.addmv_(weight[:, :split], values)
        ctx.save_for_backward(temporal, *weights)
        return torch.stack([weight[:, split:] for weight in weights]), bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_rest: Tensor, of_bias: Tensor) -> tuple[Tensor, ...]:
        temporal, *weights = ctx.saved_tensors
        split = temporal.shape[1]
        of_weights = of_rest.new_empty(len(weights), *weights[0].shape)
        torch.mul(of_bias[:, :, None], temporal[:, None], out=of_weights[:, :, :split])
        of_weights[:, :, split:] = of_rest
        of_temporal = torch.empty_like(temporal)
        for weight, own, values in zip(weights, of_bias, of_temporal, strict=True):
            torch.mv(weight[:, :split].t(), own, out=values)
        pairs = zip(of_weights, of_bias, strict=True)
        return of_temporal, *(tensor for pair in pairs for tensor in pair)
