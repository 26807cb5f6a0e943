"""E-D3DGS's temporal embedding in plain PyTorch (Bae et al., ECCV 2024)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def plain_temporal_embedding(table: Tensor, time: Tensor, rows: int) -> Tensor:
    """Temporal embedding [width] of a network at a time, 0 ... 1 spanning the table [height, width].

    The table is resampled linearly to a number of rows, few for the coarse network, and read linearly; times outside
    0 ... 1 are reflected (E-D3DGS, "coarse-fine deformation", and its code). time: float64 scalar; gradients reach
    both, at a row of the resampled table that of one of its sides.
    """
    resampled = interpolate(table.t()[None], size=rows, mode="linear", align_corners=True)[0].t()  # [rows, width]
    phase = time.remainder(2)
    row = torch.where(phase < 1, phase, 2 - phase) * (rows - 1)
    below = min(int(row), max(rows - 2, 0))
    above = min(below + 1, rows - 1)
    share = (row - below).to(table.dtype)
    return (1 - share) * resampled[below] + share * resampled[above]
