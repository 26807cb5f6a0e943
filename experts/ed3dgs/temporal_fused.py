"""E-D3DGS's temporal embedding in few launches: resampling and reading are one product, derived by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def fused_temporal_embeddings(table: Tensor, time: Tensor, rows: Sequence[int]) -> Tensor:
    """`plain_temporal_embeddings` [s, width] of s networks, for each the table resampled to its number of rows.

    Gradients reach the table [height, width] and the time (float64 scalar), at a kink that of the later side.
    """
    network, lines, spans = _lines(tuple(rows), table.shape[0], table.device)
    embeddings: Tensor = _Embeddings.apply(table, time, network, lines, spans)
    return embeddings


@lru_cache(maxsize=8)
def _lines(rows: tuple[int, ...], height: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the table's rows as functions of t in 0 ... 2, the second half reflected; they are piecewise linear.

    Gives 0 ... s - 1; values at 0 and slopes [s, pieces, 2, height] of each piece's line; pieces between 0 and 1 [s].
    """
    exact: Any = {"dtype": torch.float64, "device": device}
    with torch.inference_mode(False), torch.no_grad():  # autograd keeps no tensor that was made in it
        pieces = torch.arange(2 * max(rows), **exact)
        networks = []
        for count in rows:
            span = count - 1
            row = (span - (span - pieces).abs()).abs().clamp(max=span) * ((height - 1) / max(span, 1))
            weights = (1 - (row[:, None] - torch.arange(height, **exact)).abs()).clamp(min=0)
            slopes = weights.diff(dim=0)
            networks.append(torch.stack([weights[:-1] - pieces[:-1, None] * slopes, span * slopes], dim=1))
        spans = torch.tensor([count - 1 for count in rows], **exact)
        return torch.arange(len(rows), device=device), torch.stack(networks), spans


class _Embeddings(torch.autograd.Function):
    """The embeddings as values of lines: two look-ups, one in each table, would be many more launches."""

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
