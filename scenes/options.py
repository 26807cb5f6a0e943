"""What to read of a scene folder, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scenes.types import Layout, ResizeFilter

Needed = Literal["all", "train", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """How to read a scene folder; frame numbers are those of the files."""

    cache: Path  # folder of the decoded frames
    layout: Layout = "n3v"
    resolution: int = -1  # 1, 2, 4, 8 divide; -1: as it is, at most 1600 px wide; other positive numbers: width in px
    resize: ResizeFilter = "bilinear"
    start: int = 0  # first frame
    end: int = -1  # first frame after the clip; -1: as many as there are
    duration: int = -1  # frames to use; -1: all of [start, end)
    test_cameras: tuple[str, ...] | None = None  # None: cam00 (N3V), cam10 (Technicolor)
    needed: Needed = "all"  # views decoded at once; others are decoded when they are first read
    memory_mb: int = 512  # read-ahead of a Prefetcher over the scene
    progress: bool = True  # show a progress bar while decoding
