"""Points that a training's first Gaussians stand on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.training.neighbours import nearest

__all__ = ["StartPoints", "nearest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPoints:
    """A coloured point cloud, all finite and on one device."""

    positions: Tensor  # float32 [n, 3] world units
    colours: Tensor  # float32 [n, 3] RGB in 0 ... 1
    frames: Tensor | None = None  # float32 [n] frame at which each was found (STG); None: not known

    @property
    def count(self) -> int:
        return self.positions.shape[0]

    def to(self, device: torch.device | str) -> StartPoints:
        """The same points on another device."""
        return StartPoints(
            positions=self.positions.to(device),
            colours=self.colours.to(device),
            frames=None if self.frames is None else self.frames.to(device),
        )
