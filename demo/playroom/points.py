"""Known surface points of the world with their tracks, in place of those a reconstruction of real footage gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from moegs_rasterizer import Camera
from numpy.typing import NDArray

from common.disk.files import replacing
from demo.playroom.arrays import Array, f32
from demo.playroom.rig import pixel_rays
from demo.playroom.solids import to_world
from demo.playroom.tracer import ROOM, soft_shadow, trace_moving, trace_still
from demo.playroom.world import World

FILE_NAME = "known_points.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPoints:
    """Points on surfaces, followed through the clip."""

    tracks: Array  # [n, num_frames, 3] metres
    colours: Array  # [n, 3] RGB in [0, 1], as shaded where the point was found
    present: NDArray[np.bool_]  # [n, num_frames]: the point's solid is in the scene
    solids: NDArray[np.int64]  # [n] index into World.solids, or tracer.ROOM


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCounts:
    """Numbers of points to take."""

    still: int = 6000
    moving: int = 3000
    instants: int = 6  # frames of each camera in which moving points are looked for


def known_points(
    world: World, cameras: list[Camera], *, num_frames: int, counts: PointCounts | None = None, seed: int = 0
) -> KnownPoints:
    """Points that the cameras see, drawn uniformly over their pixels (still ones first)."""
    counts = counts or PointCounts()
    rng = np.random.default_rng(seed)
    still, moving = [], []
    for camera in cameras:
        rays = pixel_rays(camera, supersampling=1)
        hits = trace_still(world, rays)
        still.append(_columns(hits.solids, hits.canonical, hits.colours))
        points = rays.origin + rays.directions * hits.distances[:, None]
        for instant in rng.choice(num_frames, size=min(counts.instants, num_frames), replace=False):
            time = int(instant) / num_frames
            now = trace_moving(world, rays, hits, time=time, shadow=soft_shadow(world, points, time=time))
            moved = now.solids != hits.solids
            moving.append(_columns(now.solids[moved], now.canonical[moved], now.colours[moved]))
    chosen = np.concatenate([_draw(still, counts.still, rng), _draw(moving, counts.moving, rng)])
    solids, canonical, colours = chosen[:, 0].astype(np.int64), chosen[:, 1:4], chosen[:, 4:7]
    tracks, present = _follow(world, solids, canonical, num_frames)
    return KnownPoints(tracks=tracks, colours=colours, present=present, solids=solids)


def save_known_points(points: KnownPoints, folder: Path) -> Path:
    """Writes known_points.npz into a scene folder and returns its path."""
    path = folder / FILE_NAME
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary, tracks=points.tracks, colours=points.colours, present=points.present, solids=points.solids
        )
    return path


def _columns(solids: NDArray[np.int64], canonical: Array, colours: Array) -> Array:
    """One row a hit: solid, canonical point, colour, [n, 7]."""
    return np.concatenate([solids[:, None].astype(np.float32), canonical, colours], axis=1)


def _draw(rows: list[Array], count: int, rng: np.random.Generator) -> Array:
    """At most `count` of the rows, drawn without replacement."""
    pool = np.concatenate(rows)
    return pool[rng.permutation(len(pool))[:count]]


def _follow(
    world: World, solids: NDArray[np.int64], canonical: Array, num_frames: int
) -> tuple[Array, NDArray[np.bool_]]:
    """World positions [n, num_frames, 3] of canonical points, and whether their solid is there [n, num_frames]."""
    tracks = canonical[:, None].repeat(num_frames, axis=1)
    present = np.ones((len(solids), num_frames), bool)
    for index in np.unique(solids[solids != ROOM]):
        solid, rows = world.solids[index], solids == index
        for frame in range(num_frames):
            pose = solid.pose(frame / num_frames)
            tracks[rows, frame] = to_world(solid, pose, canonical[rows])
            present[rows, frame] = pose.size > 0.0
    return f32(tracks), present
