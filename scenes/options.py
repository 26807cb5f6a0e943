"""Options of loading a scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scenes.types import ResizeFilter

Needed = Literal["all", "train", "test", "none"]
PrincipalPoints = Literal["kept", "centred"]
DEFAULT_LAYOUT = "n3v"  # of folders that look like no layout; a row of scenes.layouts.LAYOUTS


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """Options of reading a scene folder; frame numbers are those of the files."""

    cache: Path  # folder of the decoded frames
    layout: str = DEFAULT_LAYOUT  # name of a row of scenes.layouts.LAYOUTS
    resolution: int = -1  # 1, 2, 4, 8 divide; -1: as it is, at most 1600 px wide; other positive numbers: width in px
    resize: ResizeFilter = "bilinear"
    principal_points: PrincipalPoints = "kept"  # as calibrated; centred: moved to the image centre
    start: int = 0  # first frame
    end: int = -1  # first frame after the clip; -1: as many as there are
    duration: int = -1  # frames to use; -1: all of [start, end)
    test_cameras: tuple[str, ...] | None = None  # None: the layout's own
    needed: Needed = "all"  # views decoded at once; others are decoded when they are first read
    cache_gb: float | None = None  # GB that decoded frames may take in `cache`; None: as many as there are
    memory_mb: int = 512  # read-ahead of a Prefetcher over the scene
    progress: bool = True  # show the progress of decoding
