"""Start of a training: the points that the first Gaussians stand on, and what else the first model depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experts.training.recipes.presets import Planes
from experts.training.views import TrainingViews

LEAST_EXTENT = 1e-5  # over the start points' spread; below, parallax is a small fraction of a px, or rounding


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStart:
    """All that a training begins with beside its recipe."""

    points: StartPoints
    views: TrainingViews
    extent: float  # 1.1 x largest distance of a training camera from their mean, data units
    world_scale: float = 1.0  # data units per unit of the model
    planes: Planes | None = None  # data units; None: the expert's are fixed
    network: Any = None  # the preset's
    seed: int = 0


def scale_fault(extent: float, positions: Tensor) -> str | None:
    """Describe a rig whose training cameras stand in one place; None where they stand apart.

    Such a rig shows no depth, and means, which move in units of its extent, would stay where they are. extent: see
    `TrainingStart`; positions: of the start points, float32 [n, 3], same units.
    """
    spread = (positions - positions.median(dim=0).values).norm(dim=1).median() if len(positions) else 0.0
    if extent > LEAST_EXTENT * float(spread):
        return None
    return (
        f"the training cameras stand in one place (extent {extent:.3g}), so they give no scale and show no depth; "
        "train on two or more cameras that stand apart: hold out fewer (--test_cameras), or record more"
    )
