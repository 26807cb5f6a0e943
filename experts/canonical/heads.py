"""Networks that E-D3DGS and 4DGaussians share, in plain PyTorch: a trunk, then one small head per residual."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def trunk(inputs: int, width: int, depth: int) -> nn.Sequential:
    """Linear(inputs, width), then (ReLU, Linear(width, width)) depth - 1 times; depths 0 and 1 are the same network."""
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*layers)


def head(width: int, outputs: int) -> nn.Sequential:
    """ReLU, Linear(width, width), ReLU, Linear(width, outputs)."""
    return nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, outputs))


def plain_heads(inputs: Tensor, before: nn.Module, heads: Sequence[nn.Module]) -> list[Tensor]:
    """One tensor [n, outputs] per head, of inputs [n, k]: head(before(inputs)), where `before` is the trunk.

    So 4DGaussians decodes its features (Wu et al., CVPR 2024, "Multi-head Gaussian Deformation Decoder"); in E-D3DGS's
    code the trunk and heads are the same.
    """
    hidden = before(inputs)
    return [own(hidden) for own in heads]
