"""Deformation heads that E-D3DGS and 4DGaussians share: small networks from a hidden vector to one residual each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_ROWS_AT_ONCE = 2048  # 128 wide activations of so many rows stay in the cache: twice as fast as all rows at once


def trunk(inputs: int, width: int, depth: int) -> nn.Sequential:
    """Linear(inputs, width), then (ReLU, Linear(width, width)) depth - 1 times; depths 0 and 1 are the same network."""
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*layers)


def head(width: int, outputs: int) -> nn.Sequential:
    """ReLU, Linear(width, width), ReLU, Linear(width, outputs)."""
    return nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, outputs))


def run_heads(hidden: Tensor, heads: Sequence[nn.Module]) -> list[Tensor]:
    """Apply every head to hidden [n, width]; one [n, outputs] tensor per head."""
    parts = [[head(rows) for head in heads] for rows in hidden.split(_ROWS_AT_ONCE)]
    return [torch.cat(part) for part in zip(*parts, strict=True)]
