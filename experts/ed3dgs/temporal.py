"""E-D3DGS's temporal embedding, and the networks' first layers at a time (Bae et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from experts.canonical.heads import Affine


def temporal_embeddings(table: Tensor, time: Tensor, rows: Sequence[int]) -> Tensor:
    """Temporal embeddings [s, width] at a time, 0 ... 1 spanning the table [height, width].

    For each of s networks, the table is resampled linearly to its number of rows and read linearly, times outside
    0 ... 1 reflected (E-D3DGS). time: float64 scalar; gradients reach both, at a kink that of the later side.
    """
    network, lines, spans = _lines(tuple(rows), table.shape[0], table.device)
    found: Tensor = _Embeddings.apply(table, time, network, lines, spans)
    return found


@lru_cache(maxsize=8)
def _lines(rows: tuple[int, ...], height: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the table's rows as functions of t in 0 ... 2, the second half reflected: they are piecewise linear.

    Gives 0 ... s - 1; values at 0 and slopes [s, pieces, 2, height] of each piece's line; pieces between 0 and 1 [s].
    """
    exact: Any = {"dtype": torch.float64, "device": device}
    with torch.inference_mode(False), torch.no_grad():  # autograd keeps no tensor that was made in it
        pieces = torch.arange(2 * max(rows), **exact)
        found = []
        for count in rows:
            span = count - 1
            row = (span - (span - pieces).abs()).abs().clamp(max=span) * ((height - 1) / max(span, 1))
            weights = (1 - (row[:, None] - torch.arange(height, **exact)).abs()).clamp(min=0)
            slopes = weights.diff(dim=0)
            found.append(torch.stack([weights[:-1] - pieces[:-1, None] * slopes, span * slopes], dim=1))
        spans = torch.tensor([count - 1 for count in rows], **exact)
        return torch.arange(len(rows), device=device), torch.stack(found), spans


class _Embeddings(torch.autograd.Function):
    """Training is bound by the number of kernels: a line instead of a place in each of two tables takes few."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, time: Tensor, *pieces: Tensor) -> Tensor:
        network, lines, spans = pieces
        phase = time.remainder(2)
        values, slopes = lines[network, (phase * spans).long()].unbind(1)
        weights = torch.addcmul(values, slopes, phase).to(table.dtype)
        ctx.save_for_backward(table, weights, slopes)
        return weights @ table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        table, weights, slopes = ctx.saved_tensors
        return weights.t() @ gradient, (slopes * (gradient @ table.t())).sum(), None, None, None


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
