"""Dropout of Gaussians (DropGaussian, Park et al., CVPR 2025)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moegs_rasterizer import Gaussians
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout:
    """Gaussians that an image lacks."""

    kept: Tensor  # bool [n]
    share: float  # that is left out on average

    def apply(self, gaussians: Gaussians) -> Gaussians:
        """The Gaussians with opacities of 0 or, so that their mean stays, over 1 - share, but at most 1.

        Those cut to 1 are divided by what they are, not clamped: opaque Gaussians keep a gradient.
        """
        raised = gaussians.opacities * (self.kept / (1 - self.share))
        return replace(gaussians, opacities=raised / raised.detach().clamp_min(1.0))
