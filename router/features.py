"""The three routing weights every Gaussian carries (MoE-GS eq. 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FEATURE_BACKGROUND = (1.0, 1.0, 1.0)  # what shines through where an expert has nothing, for every expert and data set


class RoutingFeatures(nn.Module):
    """One table of routing weights per expert: base and directional (`static`), and one that time scales (`temporal`).

    `static` [n, 2] starts at `init`, `temporal` [n, 1] at 0; no activation (MoE-GS's code: w_b_0, w_b_1 and f_t_0).
    """

    def __init__(self, counts: Sequence[int], init: float = 0.9) -> None:
        super().__init__()
        self.static = nn.ParameterList([nn.Parameter(torch.full((count, 2), float(init))) for count in counts])
        self.temporal = nn.ParameterList([nn.Parameter(torch.zeros(count, 1)) for count in counts])

    def forward(self, expert: int, rows: slice, time: float) -> Tensor:
        """Features of one expert's rows at a normalised time: [rows, 3] = (base, directional, time * temporal)."""
        static, temporal = self.static[expert], self.temporal[expert]
        if rows != slice(0, len(static)):  # else slicing would cost launches forward and back
            static, temporal = static[rows], temporal[rows]
        return torch.cat([static, temporal * time], dim=1)
