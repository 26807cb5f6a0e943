"""Canonical Gaussians: the raw 3DGS tensors that E-D3DGS and 4DGaussians deform before activating them."""

from __future__ import annotations

from typing import TypedDict

import torch
from moegs_rasterizer import Gaussians
from torch import Tensor, nn

from common.maths.vectors import unit
from experts.frozen import FrozenCache


class Raw(TypedDict):
    """Raw tensors on their way through a deformation."""

    means: Tensor  # [n, 3]
    log_scales: Tensor  # [n, 3]
    quats: Tensor  # [n, 4] wxyz, any length
    opacity_logits: Tensor  # [n, 1]
    sh: Tensor  # [n, 48], coefficient by coefficient


class CanonicalGaussians(nn.Module):
    """The raw tensors of a point_cloud.ply, before deformation and activation."""

    def __init__(
        self,
        *,
        means: Tensor,  # [n, 3]
        log_scales: Tensor,  # [n, 3]
        quats: Tensor,  # [n, 4] wxyz
        opacity_logits: Tensor,  # [n]
        sh_dc: Tensor,  # [n, 1, 3]
        sh_rest: Tensor,  # [n, 15, 3]
    ) -> None:
        super().__init__()
        self.means = nn.Parameter(means)
        self.log_scales = nn.Parameter(log_scales)
        self.quats = nn.Parameter(quats)
        self.opacity_logits = nn.Parameter(opacity_logits)
        self.sh_dc = nn.Parameter(sh_dc)
        self.sh_rest = nn.Parameter(sh_rest)
        self._sh: FrozenCache[Tensor] = FrozenCache()

    def raw(self) -> Raw:
        """The tensors in the shapes that deformation heads give."""
        return Raw(
            means=self.means,
            log_scales=self.log_scales,
            quats=self.quats,
            opacity_logits=self.opacity_logits[:, None],
            sh=self._sh.of([self.sh_dc, self.sh_rest], self._joined_sh),
        )

    def _joined_sh(self) -> Tensor:
        return torch.cat([self.sh_dc, self.sh_rest], dim=1).flatten(1)


def activate(raw: Raw) -> Gaussians:
    """3DGS's activations: exp of scales, unit quaternions, sigmoid of opacities."""
    return Gaussians(
        means=raw["means"],
        scales=raw["log_scales"].exp(),
        quats=unit(raw["quats"]),
        opacities=raw["opacity_logits"].squeeze(1).sigmoid(),
        sh=raw["sh"].unflatten(1, (-1, 3)),
    )
