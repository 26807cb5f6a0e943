"""E-D3DGS's temporal embeddings in plain PyTorch (Bae et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def plain_temporal_embeddings(table: Tensor, time: Tensor, rows: Sequence[int]) -> Tensor:
    """Temporal embeddings [s, width] of s networks at a time, 0 ... 1 spanning the table [height, width].

    The table is resampled linearly to each network's number of rows, few for the coarse one, and read linearly; times
    outside 0 ... 1 are reflected (E-D3DGS, "coarse-fine deformation", and its code). time: float64 scalar; gradients
    reach both, at a row of the resampled table that of one of its sides.
    """
    phase = time.remainder(2)
    reflected = torch.where(phase < 1, phase, 2 - phase)
    embeddings = []
    for count in rows:
        resampled = interpolate(table.t()[None], size=count, mode="linear", align_corners=True)[0].t()  # [count, width]
        row = reflected * (count - 1)
        below = min(int(row), max(count - 2, 0))
        above = min(below + 1, count - 1)
        share = (row - below).to(table.dtype)
        embeddings.append((1 - share) * resampled[below] + share * resampled[above])
    return torch.stack(embeddings)
