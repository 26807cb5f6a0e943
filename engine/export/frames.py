"""An expert's Gaussians at a frame, in the form that all files of splats share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from moegs_rasterizer import Gaussians
from moegs_rasterizer.reference.projection import rotations
from torch import Tensor

from common.maths.vectors import unit
from engine.errors import ConfigError
from experts.base import Expert

SH_CONSTANT = 0.28209479177387814  # the spherical harmonic of degree 0
NOT_UNIT = 1e-3  # deviation of a quaternion's length from 1 that changes a covariance


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """All rows of an expert's routing table at one frame; those that the frame does not show have opacity 0."""

    means: Tensor  # [n, 3]
    quats: Tensor  # [n, 4], unit
    log_scales: Tensor  # [n, 3]
    opacities: Tensor  # [n]
    sh: Tensor  # [n, 16, 3]


class FrameReader:
    """Reads frames of an expert one after the other; shapes that stay as they were are not made again.

    kept: mask of the rows that are wanted; others have opacity 0. None: all.
    """

    def __init__(self, expert: Expert, *, kept: Tensor | None = None) -> None:
        self.expert, self.kept = expert, kept
        self._rows: slice | None = None
        self._shapes: KnownShapes | None = None

    def at(self, number: float) -> Frame:
        """All rows at a frame."""
        gaussians, rows = self.expert.at(number), self.expert.rows(number)
        opacities = gaussians.opacities if self.kept is None else gaussians.opacities * self.kept[rows]
        if self._shapes is None or rows != self._rows:
            self._rows, self._shapes = rows, KnownShapes(gaussians.count, like=gaussians.means)
        scales, quats = self._shapes.unit(gaussians.scales, gaussians.quats, wanted=opacities > 0)

        def spread(values: Tensor) -> Tensor:
            whole = values.new_zeros((self.expert.num_gaussians, *values.shape[1:]))
            whole[rows] = values
            return whole

        return Frame(
            means=spread(gaussians.means),
            quats=spread(quats),
            log_scales=spread(scales.clamp(min=1e-12).log()),
            opacities=spread(opacities),
            sh=spread(harmonics_of(gaussians, self.expert.name)),
        )


class KnownShapes:
    """Unit shapes of n Gaussians from frame to frame: those that change are made again, the others are remembered.

    Each needs a singular value decomposition, which takes longer than all else of a frame.
    """

    def __init__(self, count: int, *, like: Tensor) -> None:
        self._given = like.new_full((count, 7), torch.nan)  # scales and quaternions; nan: nothing is known
        self._made = like.new_zeros(count, 7)

    def unit(self, scales: Tensor, quats: Tensor, *, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and quaternions as `unit_shapes` gives them, of the wanted ones [n]; others may be any."""
        given = torch.cat([scales, quats], dim=1)
        rows = torch.nonzero(wanted & (given != self._given).any(dim=1))[:, 0]
        self._given[rows] = given[rows]
        self._made[rows] = torch.cat(unit_shapes(scales[rows], quats[rows]), dim=1)
        return self._made[:, :3], self._made[:, 3:]


def unit_shapes(scales: Tensor, quats: Tensor) -> tuple[Tensor, Tensor]:
    """Scales [n, 3] and unit quaternions [n, 4] of the same covariances; zero quaternions become the identity.

    A quaternion of another length than 1 is no rotation, as the rasterizer uses it (`rotations`). Its matrix times the
    scales has singular values: those are the scales of the same covariance.
    """
    lengths = quats.norm(dim=1)
    odd = torch.nonzero((lengths - 1).abs() > NOT_UNIT)[:, 0]
    scales, quats = scales.clone(), unit(quats)
    if len(odd):
        given = quats[odd] * lengths[odd, None]
        axes, sizes, _ = torch.linalg.svd(rotations(given).double() * scales[odd, None].double())
        axes = axes * torch.linalg.det(axes).sign()[:, None, None]
        scales[odd], quats[odd] = sizes.to(scales), quats_of(axes).to(quats)
    return scales, quats


def quats_of(rotation: Tensor) -> Tensor:
    """Unit quaternions wxyz [n, 4] of rotation matrices [n, 3, 3]: the longest row of 4 q q^T, which they give."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(1) for row in rotation.unbind(1))
    rows = [
        torch.stack([1 + a + e + i, h - f, c - g, d - b], dim=1),
        torch.stack([h - f, 1 + a - e - i, b + d, c + g], dim=1),
        torch.stack([c - g, b + d, 1 - a + e - i, f + h], dim=1),
        torch.stack([d - b, c + g, f + h, 1 - a - e + i], dim=1),
    ]
    table = torch.stack(rows, dim=1)
    longest = table.diagonal(dim1=1, dim2=2).argmax(dim=1)
    return unit(table[torch.arange(len(table), device=table.device), longest])


def harmonics_of(gaussians: Gaussians, name: str) -> Tensor:
    """Coefficients [n, 16, 3] of degree 3; plain colours become the constant.

    Raises ConfigError where colours are made by a network at every pixel. name: the expert's.
    """
    if gaussians.sh is not None:
        return torch.nn.functional.pad(gaussians.sh, (0, 0, 0, 16 - gaussians.sh.shape[1]))
    colours = gaussians.colours
    if colours is None or colours.shape[1] != 3:
        raise ConfigError(
            f"{name}: a network makes its colours of {gaussians.colour_channels} channels at every pixel, and no file "
            "of splats holds that; export another expert, or STG with spherical harmonics"
        )
    return torch.nn.functional.pad((colours[:, None] - 0.5) / SH_CONSTANT, (0, 0, 0, 15))
