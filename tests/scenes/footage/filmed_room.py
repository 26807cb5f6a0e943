"""The demo's room filmed small by a few cameras, whose footage can be spoilt in known ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from moegs_rasterizer import Camera

from demo.playroom.film import film_camera
from demo.playroom.points import PointCounts, known_points, save_known_points
from demo.playroom.rig import RigSize, rig_cameras
from demo.playroom.world import demo_world
from scenes import Scene, View
from scenes.calibration.cameras import rig_radius

SIZE = RigSize(width=80, height=60, num_cameras=5)
FILMED = 64  # moments
FIRST, COUNT = 14, 36  # the clip's, so that cameras may be out of step by 14 frames

Spoil = Callable[[np.ndarray], np.ndarray]  # uint8 [h, w, 3] -> uint8 [h, w, 3]


@cache
def filmed(view: int, half: bool = False) -> np.ndarray:
    """Frames [FILMED, h, w, 3] of a camera; half: those half a frame later."""
    moments = 2 * FILMED if half else FILMED
    frames = film_camera(demo_world(), rig_cameras(SIZE)[view], num_frames=moments, supersampling=1)
    return frames[1::2] if half else frames


def film() -> list[np.ndarray]:
    """Frames of each camera."""
    return [filmed(view) for view in range(SIZE.num_cameras)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """Frames of the clip, some cameras late by frames, or spoilt."""

    films: Sequence[np.ndarray]
    late: dict[int, int] = field(default_factory=dict)
    spoilt: dict[int, Spoil] = field(default_factory=dict)

    def read(self, view: int, frame: int) -> np.ndarray:
        image = self.films[view][FIRST + frame - self.late.get(view, 0)]
        return self.spoilt[view](image) if view in self.spoilt else image.copy()


def room(root: Path, footage: Footage | None = None, *, points: bool = False, frames: int = COUNT) -> Scene:
    """A scene of the room, with its surface points where asked for."""
    cameras = rig_cameras(SIZE)
    if points:
        counts = PointCounts(still=4000, moving=0)
        save_known_points(known_points(demo_world(), cameras, num_frames=1, counts=counts), root)
    return Scene(
        name="room",
        layout="n3v",
        root=root,
        views=tuple(View(name=f"cam{index:02d}", number=index, camera=camera) for index, camera in enumerate(cameras)),
        train=tuple(range(1, len(cameras))),
        test=(0,),
        start=0,
        num_frames=frames,
        footage_frames=frames,
        frames=footage or Footage(films=film()),
        rig_radius=rig_radius(cameras[1:]),
        notes=(),
    )


def with_camera(scene: Scene, index: int, camera: Camera) -> Scene:
    views = list(scene.views)
    views[index] = replace(views[index], camera=camera)
    return replace(scene, views=tuple(views))
