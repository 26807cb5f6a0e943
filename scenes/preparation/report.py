"""Reports of a preparation: its steps and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moegs_rasterizer import Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step of a preparation."""

    name: str  # "frames_cam00", "colmap_0", "clouds", …
    outcome: Literal["done", "skipped"]  # skipped: its outputs are there and its record matches
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCloud:
    """The COLMAP model of one frame."""

    frame: int  # number in the files
    model: Path  # <scene>/colmap_<frame>/sparse/0
    cameras: int
    registered: int
    points: int
    median_error: float  # px
    tried: tuple[str, ...]  # one line per attempt, with its result


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReport:
    """Everything that a preparation left in the scene's folder."""

    kind: str  # name of its row in scenes.layouts.PREPARATIONS
    root: Path
    steps: tuple[StepReport, ...]  # in order
    cameras: Mapping[str, Camera]  # by name, sorted; at the size of the frames given to COLMAP
    images: Mapping[str, Path]  # the first frame of every camera, as given to COLMAP
    start: int  # number of the clip's first frame
    frames: int  # frames every camera has from the start on
    clouds: tuple[PreparedCloud, ...]  # in the order of their frames
    cloud_sizes: Mapping[str, int]  # points by file name: points3D.ply, …
    repaired: tuple[str, ...]  # one line per image: its name, which rows, where from
    notes: tuple[str, ...]
