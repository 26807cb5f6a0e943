"""What a reader finds in a scene folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moegs_rasterizer import Camera

from scenes.frames.sources import FrameSource
from scenes.layouts.clip import Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """Cameras and frame sources of one rig, both by camera name and with the same names."""

    cameras: Mapping[str, Camera]  # at the size they were calibrated for
    sources: Mapping[str, FrameSource]
    clip: Clip
    notes: tuple[str, ...]
