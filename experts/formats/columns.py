"""The columns of 3DGS's PLY files, which all experts' files share, and spherical harmonics in their order."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.base import CheckpointError
from experts.formats.harmonics import Harmonics
from experts.formats.ply import PlyTable, numbered_columns, select

SH_REST = 45  # coefficients 1-15 of three channels: degree 3, the only degree the experts are trained with


def numbered(prefix: str, count: int) -> tuple[str, ...]:
    """prefix0 ... prefix(count - 1)."""
    return tuple(f"{prefix}{number}" for number in range(count))


POSITION = ("x", "y", "z")
NORMALS = ("nx", "ny", "nz")
DC = numbered("f_dc_", 3)
REST = numbered("f_rest_", SH_REST)
OPACITY = ("opacity",)
SCALES = numbered("scale_", 3)
QUATS = numbered("rot_", 4)

GAUSSIAN = POSITION + NORMALS + DC + REST + OPACITY + SCALES + QUATS  # 3DGS


def select_sh(table: PlyTable, prefix: str = "") -> Harmonics:
    """SH coefficients of f_dc_* and f_rest_*; raises CheckpointError unless there are 45 f_rest_*."""
    width = len(numbered_columns(table.names, f"{prefix}f_rest_"))
    if width != SH_REST:
        raise CheckpointError(
            f"{table.path}: {width} {prefix}f_rest_* columns, {SH_REST} (SH degree 3) expected; retrain at sh_degree 3"
        )
    return sh_from_columns(select(table, [f"{prefix}{name}" for name in DC + REST]))


def sh_from_columns(columns: Tensor) -> Harmonics:
    """[n, 48] as in the files (f_dc of R G B, then f_rest channel by channel) to coefficients."""
    rest = columns[:, 3:].reshape(-1, 3, SH_REST // 3).transpose(1, 2)
    return Harmonics(sh_dc=columns[:, None, :3].clone(), sh_rest=rest.contiguous())


def sh_to_columns(sh_dc: Tensor, sh_rest: Tensor) -> Tensor:
    """Inverse of sh_from_columns: [n, 1, 3] and [n, 15, 3] to [n, 48]."""
    return torch.cat([sh_dc.squeeze(1), sh_rest.transpose(1, 2).reshape(-1, SH_REST)], dim=1)
