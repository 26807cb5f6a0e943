"""Column orders of STG's PLY files, one for each variant of its colours."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from experts.formats.columns import DC, NORMALS, OPACITY, POSITION, QUATS, REST, SCALES, numbered

Kind = Literal["sh", "full", "lite"]  # MoE-GS's variant, the original ones

TIME = ("trbf_center", "trbf_scale")
MOTION = numbered("motion_", 9)
OMEGA = numbered("omega_", 4)
FEATURES = numbered("f_dc_", 6)
TIME_FEATURES = numbered("f_t_", 3)
_HEAD = POSITION + TIME + NORMALS + MOTION
_TAIL = OPACITY + SCALES + QUATS + OMEGA

COLUMNS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "sh": _HEAD + DC + REST + _TAIL,
        "full": _HEAD + FEATURES + _TAIL + TIME_FEATURES,
        "lite": _HEAD + DC + _TAIL,
    }
)
