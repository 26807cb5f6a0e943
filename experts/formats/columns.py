"""Column orders of the experts' PLY files, and the router's three extra columns."""

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
ROUTING = ("f_t_0", "w_b_0", "w_b_1")  # MoE-GS's order in the file: temporal, base, directional

GAUSSIAN = POSITION + NORMALS + DC + REST + OPACITY + SCALES + QUATS  # 3DGS

EX4DGS_DISPLACEMENT = numbered("xyz_disp_", 3)
EX4DGS_STATIC = GAUSSIAN + EX4DGS_DISPLACEMENT
EX4DGS_DYNAMIC_ROUTING = tuple(f"motion_{name}" for name in ROUTING)

ED3DGS_EMBEDDING = numbered("embedding_", 32)
ED3DGS = GAUSSIAN + ED3DGS_EMBEDDING


STG_TIME = ("trbf_center", "trbf_scale")
STG_MOTION = numbered("motion_", 9)
STG_OMEGA = numbered("omega_", 4)
STG_FEATURES = numbered("f_dc_", 6)
STG_TIME_FEATURES = numbered("f_t_", 3)
_STG_HEAD = POSITION + STG_TIME + NORMALS + STG_MOTION
_STG_TAIL = OPACITY + SCALES + QUATS + STG_OMEGA
STG_SH = _STG_HEAD + DC + REST + _STG_TAIL
STG_LITE = _STG_HEAD + DC + _STG_TAIL
STG_FULL = _STG_HEAD + STG_FEATURES + _STG_TAIL + STG_TIME_FEATURES


_SIGNATURES = (  # a column only this expert's files have, its flag; the last row is 3DGS, which 4DGaussians deforms
    ("trbf_center", "STG", "stg_path"),
    ("embedding_0", "E-D3DGS", "emb_path"),
    ("xyz_disp_0", "Ex4DGS", "model_path"),
    ("motion_xyz_0_0", "Ex4DGS", "model_path"),
    ("f_dc_0", "4DGaussians", "fgaussian_path"),
)


def require_expert(table: PlyTable, expert: str) -> None:
    """Raise CheckpointError saying which expert a file looks like when it is not the one asked for."""
    found = next(((name, flag) for column, name, flag in _SIGNATURES if column in table.names), None)
    if found is None:
        listed = ", ".join(table.names[:4])
        raise CheckpointError(
            f"{table.path}: no expert's Gaussians (columns {listed}, ...), {expert} expected; check the path"
        )
    if found[0] != expert:
        raise CheckpointError(f"{table.path}: looks like {found[0]}, {expert} expected; give it to --{found[1]}")


def ex4dgs_keyframe_columns(name: str, keyframes: int, width: int) -> tuple[str, ...]:
    """motion_<name>_<keyframe>_<component>, keyframe first."""
    return tuple(f"motion_{name}_{keyframe}_{j}" for keyframe in range(keyframes) for j in range(width))


def ex4dgs_dynamic(keyframes: int) -> tuple[str, ...]:
    """Columns of Ex4DGS's dynamic_point_cloud.ply."""
    return (
        *ex4dgs_keyframe_columns("xyz", keyframes, 3),
        *(f"motion_{name}" for name in DC + REST + SCALES + OPACITY),
        *numbered("motion_opacity_c_", 2),
        *numbered("motion_opacity_v_", 2),
        *ex4dgs_keyframe_columns("rot", keyframes, 4),
    )


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


def select_routing(table: PlyTable, prefix: str = "") -> Tensor | None:
    """Router weights [n, 3] as (base, directional, temporal), or None where the file has none.

    Original full STG files also have f_t_* columns (their time features): only w_b_* says that a router wrote the file.
    """
    if f"{prefix}w_b_0" not in table.names:
        return None
    return select(table, [f"{prefix}{name}" for name in ("w_b_0", "w_b_1", "f_t_0")])


def routing_to_columns(routing: Tensor) -> Tensor:
    """(base, directional, temporal) [n, 3] to the file's order, ROUTING."""
    return routing[:, [2, 0, 1]]
