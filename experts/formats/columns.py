"""The columns of 3DGS's PLY files, which all experts' files share, and spherical harmonics in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.deferred import deferred
from experts.base import CheckpointError
from experts.formats.harmonics import Harmonics
from experts.formats.ply import PlyTable, numbered_columns, select

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = deferred("torch")

SH_REST = 45  # coefficients 1-15 of three channels: degree 3, to which models of lower ones are padded
SH_WIDTHS = (0, 9, 24, SH_REST)  # by degree


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
    """SH coefficients of f_dc_* and f_rest_*, those above the file's degree 0; raises CheckpointError for other widths.

    0, 9, 24 or 45 f_rest_* columns are degree 0, 1, 2 or 3.
    """
    width = len(numbered_columns(table.names, f"{prefix}f_rest_"))
    if width not in SH_WIDTHS:
        raise CheckpointError(
            f"{table.path}: {width} {prefix}f_rest_* columns; 0, 9, 24 or 45 (SH degree 0 to 3) expected; retrain it"
        )
    stored = select(table, [f"{prefix}{name}" for name in DC + REST[:width]])
    if width == SH_REST:
        return sh_from_columns(stored)
    channels = stored[:, 3:].reshape(len(stored), 3, width // 3)
    padded = torch.nn.functional.pad(channels, (0, (SH_REST - width) // 3)).reshape(len(stored), SH_REST)
    return sh_from_columns(torch.cat([stored[:, :3], padded], dim=1))


def sh_from_columns(columns: Tensor) -> Harmonics:
    """[n, 48] as in the files (f_dc of R G B, then f_rest channel by channel) to coefficients."""
    rest = columns[:, 3:].reshape(-1, 3, SH_REST // 3).transpose(1, 2)
    return Harmonics(sh_dc=columns[:, None, :3].clone(), sh_rest=rest.contiguous())


def sh_to_columns(sh_dc: Tensor, sh_rest: Tensor) -> Tensor:
    """Inverse of sh_from_columns: [n, 1, 3] and [n, 15, 3] to [n, 48]."""
    return torch.cat([sh_dc.squeeze(1), sh_rest.transpose(1, 2).reshape(-1, SH_REST)], dim=1)
