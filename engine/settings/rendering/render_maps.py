"""The names of further videos that a rendering can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

MapName = Literal["truth", "grid", "error", "winner", "depth", "alpha"]
MAPS: tuple[MapName, ...] = get_args(MapName)
OF_TRUTH: tuple[MapName, ...] = ("truth", "error")  # they need a recorded frame


def need_depths(maps: Sequence[MapName]) -> bool:
    """Tell whether maps need a mixture with alphas and depths."""
    return "depth" in maps or "alpha" in maps
