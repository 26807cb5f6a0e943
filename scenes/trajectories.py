"""Camera paths through a rig: a spiral, a turn around what its cameras look at, and the way from camera to camera."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from moegs_rasterizer import Camera

from common.deferred import deferred
from scenes.novel_views import LEAST_AGREEMENT, rig_up
from scenes.types import SceneError, View

if TYPE_CHECKING:
    import torch
else:
    torch = deferred("torch")

SPIRAL_TURNS = 2
SPIRAL_SHARE = 0.5  # of the rig's extent along each axis, so that the path stays among the cameras
PARALLEL = 1e-3  # least eigenvalue of the mean of 1 - d d^T below which viewing directions d do not meet
FAR = 10.0  # distance of what parallel cameras look at, in rig radii
ALL_ROUND = math.radians(270)  # a rig that spans more is walked around completely

Poses = np.ndarray  # [n, 4, 4] float64, camera to world


def spiral(views: Sequence[View], camera: Camera, count: int) -> list[Camera]:
    """Move around the mean of the views' centres, in a closed spiral, and look at what the rig looks at.

    camera: gives intrinsics and size. The path spans half of the rig along the mean camera's axes. Raises SceneError
    where the rig has no up direction.
    """
    poses, up = _poses(views), _up(views)
    centre, target = poses[:, :3, 3].mean(axis=0), looked_at(views)
    axes = _looking(centre, target, up)[:3, :3]
    extent = SPIRAL_SHARE * np.abs((poses[:, :3, 3] - centre) @ axes).max(axis=0)
    angles = 2 * np.pi * SPIRAL_TURNS * np.arange(count) / count
    waves = np.stack([np.cos(angles), np.sin(angles), np.sin(angles / SPIRAL_TURNS)], axis=1)
    return [_camera(camera, _looking(centre + axes @ (extent * wave), target, up)) for wave in waves]


def orbit(views: Sequence[View], camera: Camera, count: int) -> list[Camera]:
    """Turn around what the rig looks at, at the views' mean distance and height, over the arc that they span and back.

    A rig that spans more than 270 degrees is walked around. camera: gives intrinsics and size. Raises SceneError where
    the rig has no up direction.
    """
    centres, up, target = _poses(views)[:, :3, 3], _up(views), looked_at(views)
    offsets = centres - target
    heights = offsets @ up
    level = offsets - heights[:, None] * up
    distances, ahead = np.linalg.norm(level, axis=1), level.mean(axis=0)
    if np.linalg.norm(ahead) < LEAST_AGREEMENT * distances.mean():  # cameras all around: start at any
        ahead = level[0]
    ahead = _unit(ahead, "a camera of the rig stands above or below what it looks at")
    side = np.cross(up, ahead)
    angles = np.arctan2(level @ side, level @ ahead)
    low, high = angles.min(), angles.max()
    phases = 2 * np.pi * np.arange(count) / count
    path = phases if high - low > ALL_ROUND else (low + high) / 2 + (high - low) / 2 * np.sin(phases)
    radius, height = distances.mean(), heights.mean()
    places = [target + radius * (math.cos(a) * ahead + math.sin(a) * side) + height * up for a in path]
    return [_camera(camera, _looking(place, target, up)) for place in places]


def interpolate(views: Sequence[View], camera: Camera, count: int) -> list[Camera]:
    """Travel from the first to the last view in the order of their numbers, through each of them.

    Positions lie on a Catmull-Rom curve, rotations turn evenly between two views (slerp). camera: gives intrinsics and
    size.
    """
    from scipy.spatial.transform import Rotation, Slerp  # here: importing it takes long, and few commands need it

    ordered = sorted(views, key=lambda view: _natural(view.name))
    poses = _poses(ordered)
    if len(poses) == 1:
        return [_camera(camera, poses[0])] * count
    times = np.linspace(0, len(poses) - 1, count)
    rotations = Slerp(np.arange(len(poses)), Rotation.from_matrix(poses[:, :3, :3]))(times).as_matrix()
    path = np.tile(np.eye(4), (count, 1, 1))
    path[:, :3, :3], path[:, :3, 3] = rotations, _catmull_rom(poses[:, :3, 3], times)
    return [_camera(camera, pose) for pose in path]


TRAJECTORIES: dict[str, Callable[[Sequence[View], Camera, int], list[Camera]]] = {
    "spiral": spiral,
    "orbit": orbit,
    "interpolate": interpolate,
}


def looked_at(views: Sequence[View]) -> np.ndarray:
    """Find the point [3] nearest to all optical axes; for parallel or diverging cameras a far one straight ahead."""
    poses = _poses(views)
    centres, directions = poses[:, :3, 3], poses[:, :3, 2]
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]  # removes the part along an axis
    mean, ahead = across.mean(axis=0), directions.mean(axis=0)
    centre = centres.mean(axis=0)
    if np.linalg.eigvalsh(mean)[0] > PARALLEL:
        point = np.linalg.solve(mean, (across @ centres[:, :, None]).mean(axis=0)[:, 0])
        if (point - centre) @ ahead > 0 or np.linalg.norm(ahead) < PARALLEL:
            return np.asarray(point)
    radius = max(np.linalg.norm(centres - centre, axis=1).max(), 1e-6)
    return np.asarray(centre + FAR * radius * _unit(ahead, "the cameras of the rig look in opposite directions"))


def _catmull_rom(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Positions [n, 3] at times, where point i is passed at time i; the ends continue straight.

    E. Catmull and R. Rom, "A class of local interpolating splines", 1974, with tension 1/2.
    """
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    start = np.minimum(times.astype(int), len(points) - 2)
    t = (times - start)[:, None]
    before, one, other, after = (padded[start + offset] for offset in range(4))
    straight, bent = other - before, 2 * before - 5 * one + 4 * other - after
    return np.asarray(one + t * (straight + t * (bent + t * (3 * (one - other) + after - before))) / 2)


def _poses(views: Sequence[View]) -> Poses:
    return np.stack([np.linalg.inv(view.camera.world_to_camera.cpu().double().numpy()) for view in views])


def _up(views: Sequence[View]) -> np.ndarray:
    return rig_up(views).cpu().double().numpy()


def _looking(centre: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Camera to world [4, 4] of a camera at `centre` that looks at `target`, x right and y down."""
    forward = _unit(target - centre, "a camera of the path would stand where the rig looks")
    right = _unit(np.cross(forward, up), "a camera of the path would look along the rig's up direction")
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = centre
    return pose


def _unit(vector: np.ndarray, fault: str) -> np.ndarray:
    length = np.linalg.norm(vector)
    if length < 1e-9:
        raise SceneError(f"{fault}; choose another trajectory")
    return np.asarray(vector / length)


def _camera(like: Camera, pose: np.ndarray) -> Camera:
    return replace(like, world_to_camera=torch.from_numpy(np.linalg.inv(pose)).to(like.world_to_camera))


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts cam2 before cam10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.lower()))
