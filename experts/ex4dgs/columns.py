"""Column orders of Ex4DGS's two PLY files."""

from __future__ import annotations

from experts.formats.columns import DC, GAUSSIAN, OPACITY, REST, SCALES, numbered

DISPLACEMENT = numbered("xyz_disp_", 3)
STATIC = GAUSSIAN + DISPLACEMENT
MOTION_PREFIX = "motion_"  # before the names of dynamic_point_cloud.ply's columns


def keyframe_columns(name: str, keyframes: int, width: int) -> tuple[str, ...]:
    """motion_<name>_<keyframe>_<component>, keyframe first."""
    return tuple(f"{MOTION_PREFIX}{name}_{keyframe}_{j}" for keyframe in range(keyframes) for j in range(width))


def dynamic_columns(keyframes: int) -> tuple[str, ...]:
    """Columns of dynamic_point_cloud.ply."""
    return (
        *keyframe_columns("xyz", keyframes, 3),
        *(f"{MOTION_PREFIX}{name}" for name in DC + REST + SCALES + OPACITY),
        *numbered("motion_opacity_c_", 2),
        *numbered("motion_opacity_v_", 2),
        *keyframe_columns("rot", keyframes, 4),
    )
