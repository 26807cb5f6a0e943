"""The colour decoder of STG's full variant: nine splatted features and the pixel's ray to RGB."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

DecoderOutput = Literal["sigmoid", "clamp", "none"]


class SandwichDecoder(nn.Module):
    """Base colour plus a two-layer network of 1x1 convolutions without biases (SpacetimeGaussians' "sandwich").

    mlp1 [6, 12, 1, 1], mlp2 [3, 6, 1, 1]: the weights of point_cloud.pt, under its names.
    """

    def __init__(self, *, mlp1: Tensor, mlp2: Tensor, output: DecoderOutput = "sigmoid") -> None:
        super().__init__()
        self.mlp1 = nn.Conv2d(12, 6, 1, bias=False)
        self.mlp2 = nn.Conv2d(6, 3, 1, bias=False)
        self.mlp1.weight = nn.Parameter(mlp1)
        self.mlp2.weight = nn.Parameter(mlp2)
        self.output = output

    def forward(self, features: Tensor, rays: Tensor) -> Tensor:
        """RGB [3, h, w] of features [9, h, w] (base, view, time: three each) and rays [6, h, w] (origin, direction)."""
        base, rest = features[:3], features[3:]
        colour = base + self.mlp2(self.mlp1(torch.cat([rest, rays])).relu())
        if self.output == "sigmoid":
            return colour.sigmoid()
        return colour.clamp(0, 1) if self.output == "clamp" else colour
