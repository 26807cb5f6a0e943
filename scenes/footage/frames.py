"""Checks of the frames: wrong poses, and cameras out of step, of other colours, blurred, or with little in common."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.tables import Column, table_lines
from scenes.footage.camera_order import fit_poses
from scenes.footage.findings import CameraFrames, frame_warnings
from scenes.footage.shared_points import colour_gains, shared_areas, sightings
from scenes.footage.sharpness import relative_sharpness
from scenes.footage.synchrony import CANDIDATES, WINDOW, Offset, offsets, shrunk
from scenes.points.cloud import PointCloud, thinned
from scenes.points.random import random_positions
from scenes.points.start import stored_start_points
from scenes.types import Scene, SceneError

_START_POINTS = 20_000  # more of them tell no more
_SHARP_FRAMES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChecks:
    """A row per camera, what is wrong with them and what was not measured, one line each."""

    cameras: tuple[CameraFrames, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def check_frames(scene: Scene, *, points: Path | None = None, seed: int = 0) -> FrameChecks:
    """Compare the cameras of a scene by their frames: pose, time, colour, sharpness and what they see in common.

    At most WINDOW + 3 frames of each camera are read; views that are not in the cache are decoded. Poses, colours and
    common areas are measured at the clip's first frame, by the start points of a file or those in the scene's folder.
    The same seed gives the same numbers. SceneError where footage or the file is damaged.
    """
    views = range(len(scene.views))
    notes: list[str] = []
    steps = _offsets(scene, seed, notes)
    spread = sorted({round(frame) for frame in np.linspace(0, scene.num_frames - 1, _SHARP_FRAMES)})
    sharp = relative_sharpness([[scene.frames.read(view, frame) for frame in spread] for view in views])
    cloud = _points(scene, points, notes)
    shown = _SeenPoints.nothing(len(scene.views)) if cloud is None else _seen_points(scene, cloud)
    rows = tuple(
        CameraFrames(name=view.name, pose_fit=pose, offset=offset, gains=gain, sharpness=sharpness, shared=share)
        for view, pose, offset, gain, sharpness, share in zip(
            scene.views, shown.poses, steps, shown.gains, sharp, shown.shares, strict=True
        )
    )
    return FrameChecks(cameras=rows, warnings=(*shown.warnings, *frame_warnings(rows)), notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _SeenPoints:
    """What start points tell of each camera; None: not measured."""

    poses: Sequence[float | None]
    gains: Sequence[tuple[float, float, float] | None]
    shares: Sequence[float | None]
    warnings: Sequence[str] = ()

    @classmethod
    def nothing(cls, cameras: int) -> _SeenPoints:
        return cls(poses=[None] * cameras, gains=[None] * cameras, shares=[None] * cameras)


def _seen_points(scene: Scene, cloud: PointCloud) -> _SeenPoints:
    """Poses by the points' colours; where they fit, the cameras' colours and common areas too."""
    cameras = [view.camera for view in scene.views]
    images = [scene.frames.read(view, 0) for view in range(len(cameras))]
    seen = sightings(cloud.positions, cameras)
    fits = fit_poses(cloud, seen, [view.name for view in scene.views], images)
    warnings = fits.warnings()
    if warnings:  # colours would be compared at places that are not the same
        return replace(_SeenPoints.nothing(len(cameras)), poses=fits.own, warnings=warnings)
    return _SeenPoints(poses=fits.own, gains=colour_gains(seen, images), shares=shared_areas(seen, cameras))


def frames_table(checks: FrameChecks) -> list[str]:
    """Lay out the rows as lines of aligned text, the headings with units first; "-": not measured.

    Pose fit: correlation of the start points with the image. An offset in brackets is not sure. Colours and sharpness
    are relative to the other cameras'.
    """
    headings = ("pose fit", "offset frames", "peak sd", "red %", "green %", "blue %", "sharp %", "shared %")
    columns = [Column(heading="camera", left=True, gap=0), *(Column(heading=heading, gap=2) for heading in headings)]
    return table_lines(columns, [_cells(row) for row in checks.cameras])


def _cells(row: CameraFrames) -> list[str]:
    offset = row.offset
    step = "-" if offset is None else f"{offset.frames:+.1f}" if offset.is_sure else f"({offset.frames:+.1f})"
    gains = ["-"] * 3 if row.gains is None else [f"{100 * np.expm1(gain):+.0f}" for gain in row.gains]
    return [
        row.name,
        "-" if row.pose_fit is None else f"{row.pose_fit:.2f}",
        step,
        "-" if offset is None else f"{offset.peak:.1f}",
        *gains,
        "-" if row.sharpness is None else f"{100 * row.sharpness:.0f}",
        "-" if row.shared is None else f"{100 * row.shared:.0f}",
    ]


def _offsets(scene: Scene, seed: int, notes: list[str]) -> Sequence[Offset | None]:
    """Offsets of the cameras, from the frames in the middle of the clip."""
    nothing: list[Offset | None] = [None] * len(scene.views)
    if len(scene.views) < 2:
        return nothing
    try:
        positions, _ = random_positions(scene, count=CANDIDATES, seed=seed)
    except SceneError as error:
        notes.append(f"offsets in time not measured: {error}")
        return nothing
    count = min(WINDOW, scene.num_frames)
    first = (scene.num_frames - count) // 2

    def clip(view: int) -> np.ndarray:
        return np.stack([shrunk(scene.frames.read(view, frame)) for frame in range(first, first + count)])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        clips = list(pool.map(clip, range(len(scene.views))))
    measured = offsets(clips, [view.camera for view in scene.views], positions)
    unknown = [
        view.name for view, offset in zip(scene.views, measured, strict=True) if offset is None or not offset.is_sure
    ]
    if unknown:
        notes.append(
            f"offset in time not measured of {len(unknown)} of {len(measured)} cameras, for too little motion or too "
            f"short a clip: {', '.join(unknown)}"
        )
    return measured


def _points(scene: Scene, points: Path | None, notes: list[str]) -> PointCloud | None:
    cloud = stored_start_points(scene, source=points, frame=0)
    if cloud is None or cloud.count == 0:
        notes.append("poses, colours and common areas not measured: no start points")
        return None
    return thinned(cloud, _START_POINTS)
