"""Checks of the frames: wrong poses, and cameras out of step, of other colours, blurred, or with little in common."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from common.cores import usable_cores
from common.text.tables import Column, table_lines
from scenes.footage.camera_order import fit_poses, other_focal_length
from scenes.footage.findings import CameraFrames, frame_warnings
from scenes.footage.shared_points import ColourMatch, colour_matches, shared_areas, sightings
from scenes.footage.sharpness import relative_sharpness
from scenes.footage.stills import frozen, one_colour
from scenes.footage.synchrony import CANDIDATES, WINDOW, Offset, offsets, shrunk
from scenes.points.cloud import PointCloud, thinned
from scenes.points.random import random_positions
from scenes.points.start import stored_start_points
from scenes.types import Scene, SceneError

_START_POINTS = 20_000  # more of them tell no more
_SHARP_FRAMES = 2
_PROBED = 2_000  # points


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChecks:
    """A row per camera, what is wrong with them and what was not measured, one line each."""

    cameras: tuple[CameraFrames, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def check_frames(
    scene: Scene, *, views: Sequence[int] | None = None, points: Path | None = None, seed: int = 0
) -> FrameChecks:
    """Compare the cameras of a scene by their frames: pose, time, colour, sharpness and what they see in common.

    views: those to compare, such as scene.train, which a training has decoded; None: all, held-out ones too.
    At most WINDOW + 3 frames of each camera are read; views that are not in the cache are decoded. Poses, colours and
    common areas are measured at the clip's first frame, by the start points of a file or those in the scene's folder.
    The same seed gives the same numbers. SceneError where footage or the file is damaged.
    """
    views = range(len(scene.views)) if views is None else views
    names = [scene.views[view].name for view in views]
    notes: list[str] = []
    warnings: list[str] = []
    cloud = _start_points(scene, points, notes)
    candidates = _candidates(scene, cloud, seed, warnings)
    clips = _clips(scene, views, (scene.num_frames - min(WINDOW, scene.num_frames)) // 2)
    steps = [None for _ in views] if candidates is None else _offsets(scene, views, clips, candidates, notes)
    ends = None if candidates is None else _ends(scene, views, steps, candidates)
    spread = sorted({round(frame) for frame in np.linspace(0, scene.num_frames - 1, _SHARP_FRAMES)})
    images = [[scene.frames.read(view, frame) for frame in spread] for view in views]
    sharp = relative_sharpness(images)
    shown = _SeenPoints.nothing(len(views)) if cloud is None else _seen_points(scene, views, cloud)
    if shown.warnings:  # offsets are measured where the poses say that cameras see the same place
        steps = [None for _ in views]
    rows = tuple(
        CameraFrames(name=name, offset=offset, colours=match, sharpness=sharpness, shared=share)
        for name, offset, match, sharpness, share in zip(names, steps, shown.colours, sharp, shown.shares, strict=True)
    )
    warnings += [*one_colour(names, images), *frozen(names, clips), *shown.warnings, *frame_warnings(rows, ends)]
    return FrameChecks(cameras=rows, warnings=tuple(warnings), notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _SeenPoints:
    """What start points tell of each camera; None: not measured."""

    colours: Sequence[ColourMatch | None]
    shares: Sequence[float | None]
    warnings: Sequence[str] = ()

    @classmethod
    def nothing(cls, cameras: int, warnings: Sequence[str] = ()) -> _SeenPoints:
        return cls(colours=[None] * cameras, shares=[None] * cameras, warnings=warnings)


def _seen_points(scene: Scene, views: Sequence[int], cloud: PointCloud) -> _SeenPoints:
    """The order of the poses by the points' colours; where it is right, the cameras' colours and common areas too."""
    cameras = [scene.views[view].camera for view in views]
    images = [scene.frames.read(view, 0) for view in views]
    seen = sightings(cloud.positions, cameras)
    fits = fit_poses(cloud, seen, [scene.views[view].name for view in views], images)
    warnings = fits.warnings()
    factor = None if len(fits.mistaken) > 1 else other_focal_length(cloud, cameras, images)
    if factor is not None:
        warnings = [
            f"the start points fit the images better with focal lengths x {factor:g}: mend the calibration, or use "
            "points and cameras of one reconstruction"
        ]
    if warnings:  # colours would be compared at places that are not the same
        return _SeenPoints.nothing(len(views), warnings)
    return _SeenPoints(colours=colour_matches(seen, images), shares=shared_areas(seen, cameras))


def frames_table(checks: FrameChecks) -> list[str]:
    """Lay out the rows as lines of aligned text, the headings with units first; "-": not measured.

    An offset in brackets is not sure. Colours and sharpness are relative to the other cameras'.
    """
    headings = ("offset frames", "peak sd", "red %", "green %", "blue %", "agree", "sharp %", "shared %")
    columns = [Column(heading="camera", left=True, gap=0), *(Column(heading=heading, gap=2) for heading in headings)]
    return table_lines(columns, [_cells(row) for row in checks.cameras])


def _cells(row: CameraFrames) -> list[str]:
    offset = row.offset
    step = "-" if offset is None else f"{offset.frames:+.1f}" if offset.is_sure else f"({offset.frames:+.1f})"
    gains = ["-"] * 3 if row.colours is None else [f"{100 * np.expm1(gain):+.0f}" for gain in row.colours.gains]
    return [
        row.name,
        step,
        "-" if offset is None else f"{offset.peak:.1f}",
        *gains,
        "-" if row.colours is None else f"{row.colours.agreement:.2f}",
        "-" if row.sharpness is None else f"{100 * row.sharpness:.0f}",
        "-" if row.shared is None else f"{100 * row.shared:.0f}",
    ]


def _clips(scene: Scene, views: Sequence[int], first: int) -> list[np.ndarray]:
    """At most WINDOW frames of each view from one on, shrunk, uint8 [frames, h, w]."""

    def clip(view: int) -> np.ndarray:
        frames = range(first, min(first + WINDOW, scene.num_frames))
        return np.stack([shrunk(scene.frames.read(view, frame)) for frame in frames])

    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(clip, views))


def _ends(
    scene: Scene, views: Sequence[int], steps: Sequence[Offset | None], positions: Tensor
) -> dict[str, tuple[float, float]] | None:
    """Offsets of cameras out of step at the clip's first and last frames, where both are sure; None where all are."""
    strays = [index for index, step in enumerate(steps) if step is not None and step.is_out_of_step]
    if not strays or scene.num_frames < 2 * WINDOW:
        return None
    cameras = [scene.views[view].camera for view in views]
    begin, end = (offsets(_clips(scene, views, first), cameras, positions) for first in (0, scene.num_frames - WINDOW))
    pairs = {scene.views[views[index]].name: (begin[index], end[index]) for index in strays}
    return {name: (a.frames, b.frames) for name, (a, b) in pairs.items() if a and b and a.is_sure and b.is_sure}


def _offsets(
    scene: Scene, views: Sequence[int], clips: Sequence[np.ndarray], positions: Tensor, notes: list[str]
) -> Sequence[Offset | None]:
    """Offsets of the views, from the frames in the middle of the clip."""
    measured = offsets(clips, [scene.views[view].camera for view in views], positions)
    unknown = [
        scene.views[view].name
        for view, offset in zip(views, measured, strict=True)
        if offset is None or not offset.is_sure
    ]
    if unknown:
        which = "any camera" if len(unknown) == len(measured) else ", ".join(unknown)
        notes.append(f"offset in time not measured of {which}: too little motion, too short a clip, or a wrong pose")
    return measured


def _candidates(scene: Scene, cloud: PointCloud | None, seed: int, warnings: list[str]) -> Tensor | None:
    """Points [n, 3] at which motion is looked for: drawn where the cameras look, or else the start points."""
    try:
        random_positions(scene, count=_PROBED, seed=seed)  # fails soon where the cameras share too little
        return random_positions(scene, count=CANDIDATES, seed=seed)[0]
    except SceneError as error:
        if cloud is None:
            warnings.append(f"the poses look wrong, or the cameras look at different places: {error}")
        return None if cloud is None else cloud.positions


def _start_points(scene: Scene, points: Path | None, notes: list[str]) -> PointCloud | None:
    cloud = stored_start_points(scene, source=points, frame=0)
    if cloud is None or cloud.count == 0:
        notes.append("order of poses, colours and common areas not measured: no start points")
        return None
    return thinned(cloud, _START_POINTS)
