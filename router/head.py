"""The per-pixel head that turns splatted routing weights and the view ray into one logit per expert (MoE-GS eq. 7)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

HeadKind = Literal["sandwichlite", "sandwichpixel"]
HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
RAY_CHANNELS = 6


class RouterHead(nn.Module):
    """1x1 layers (2 or 8)-6-3-1 with ReLU between and no biases, shared by all experts; logit = base + output.

    "sandwichlite" sees (directional, temporal, ray), "sandwichpixel" (directional, temporal). Parameter names and
    shapes are those of MoE-GS's released head, so its files load.
    """

    def __init__(self, kind: HeadKind = "sandwichlite") -> None:
        super().__init__()
        if kind not in HEAD_KINDS:
            raise ValueError(f"router head {kind!r} is unknown: use one of {', '.join(HEAD_KINDS)}")
        self.kind = kind
        inputs = 2 + (RAY_CHANNELS if kind == "sandwichlite" else 0)
        self.mlp1 = nn.Conv2d(inputs, 6, 1, bias=False)
        self.mlp2 = nn.Conv2d(6, 3, 1, bias=False)
        self.mlp3 = nn.Conv2d(3, 1, 1, bias=False)

    def forward(self, features: Tensor, rays: Tensor) -> Tensor:
        """Logits [E, h, w] from splatted features [E, 3, h, w] and the camera's rays [6, h, w]."""
        experts, _, height, width = features.shape
        first, second, third = (layer.weight.flatten(1) for layer in (self.mlp1, self.mlp2, self.mlp3))
        # Matrix products instead of 1x1 convolutions, and the rays' share computed once for all experts: six times
        # faster on a CPU.
        splatted = features[:, 1:].transpose(0, 1).reshape(2, -1)
        hidden = (first[:, :2] @ splatted).view(-1, experts, height * width)
        if self.kind == "sandwichlite":
            hidden = hidden + (first[:, 2:] @ rays.flatten(1))[:, None]
        hidden = torch.relu(second @ torch.relu(hidden).flatten(1))
        return features[:, 0] + (third @ hidden).view(experts, height, width)
