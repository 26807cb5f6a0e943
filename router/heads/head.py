"""The per-pixel router head in plain PyTorch, and what any router head is (MoE-GS eq. 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

SPLATTED = 2  # routing weights that the layers see: directional and temporal
RAY_CHANNELS = 6  # of a pixel's view ray: camera centre and unit direction
FIRST, SECOND = 6, 3  # channels of the hidden layers


class RouterHead(nn.Module):
    """A router head: an nn.Module whose `forward` makes logits out of splatted routing weights and view rays.

    docs/extending/router_head.md adds one.
    """

    def forward(self, features: Sequence[Tensor], rays: Tensor) -> Tensor:
        """Logits [E, h, w] of E experts, before the temperature.

        features: each expert's splatted routing weights [3, h, w] = (base, directional, temporal), which gradients
        reach. rays: the camera's [6, h, w], constants. A head may leave unused what it does not need.
        """
        raise NotImplementedError


class SandwichHead(RouterHead):
    """MoE-GS's head: 1x1 layers of 8-6-3-1 channels with ReLU between and no biases, shared by all experts.

    sees_rays False: the view ray is left out, which makes 2-6-3-1. Parameter names and shapes are those of MoE-GS's
    released head, so its files load.
    """

    def __init__(self, *, sees_rays: bool = True) -> None:
        super().__init__()
        self.sees_rays = sees_rays
        self.mlp1 = nn.Conv2d(SPLATTED + (RAY_CHANNELS if sees_rays else 0), FIRST, 1, bias=False)
        self.mlp2 = nn.Conv2d(FIRST, SECOND, 1, bias=False)
        self.mlp3 = nn.Conv2d(SECOND, 1, 1, bias=False)

    def forward(self, features: Sequence[Tensor], rays: Tensor) -> Tensor:
        """logit = base + layers(directional, temporal, ray) (MoE-GS eq. 7)."""
        weights = torch.stack(list(features))
        base, seen = weights[:, 0], weights[:, 1:]  # [E, h, w] and [E, 2, h, w]
        if self.sees_rays:
            seen = torch.cat([seen, rays.expand(len(seen), *rays.shape)], dim=1)  # [E, 8, h, w]
        hidden = relu(self.mlp2(relu(self.mlp1(seen))))
        return base + self.mlp3(hidden)[:, 0]
