"""Viewpoints from which an image shows all of a rig and its points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from moegs_rasterizer import Camera

from common.maths.geometry import transformed

INWARD = 0.3  # length of the mean level viewing direction below which a rig looks at its middle
_SHOWN = (0.02, 0.98)  # quantiles of the points that an image makes room for: sparse clouds have points far astray
MARGIN = 0.93  # of the image that its content fills


@dataclass(frozen=True, slots=True, kw_only=True)
class RigAxes:
    """Directions of a rig, unit vectors in world units [3]."""

    up: np.ndarray
    forward: np.ndarray  # level: at right angles to up
    right: np.ndarray
    inward: bool  # the cameras look at each other


def rig_axes(cameras: Sequence[Camera]) -> RigAxes:
    """Find up, on which the images agree, and forward, where cameras look; in a ring, where the first one looks."""
    rotations = np.stack([camera.world_to_camera[:3, :3].double().numpy() for camera in cameras])
    up = _unit(-rotations[:, 1].mean(axis=0), otherwise=-rotations[0, 1])
    candidates = [rotations[:, 2].mean(axis=0), rotations[0, 2], rotations[0, 1]]
    level = [candidate - up * (candidate @ up) for candidate in candidates]
    inward = bool(np.linalg.norm(level[0]) < INWARD)
    forward = _unit(next(vector for vector in level[inward:] if np.linalg.norm(vector) > 1e-3))
    return RigAxes(up=up, forward=forward, right=np.cross(forward, up), inward=inward)


def _unit(vector: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return otherwise if otherwise is not None and length < 1e-3 else vector / length


def viewpoint(
    content: np.ndarray, direction: np.ndarray, up: np.ndarray, *, size: tuple[int, int], angle: float
) -> Camera:
    """Place a camera that looks along a direction [3], upright, and has all of the content [n, 3] in its image.

    size: width and height, px. angle: horizontal field of view, degrees; a small one draws parallel lines parallel.
    """
    width, height = size
    forward = _unit(direction)
    right = _unit(np.cross(forward, up))
    rotation = np.stack([right, np.cross(forward, right), forward])
    local = content @ rotation.T
    middle = (local.min(axis=0) + local.max(axis=0)) / 2
    focal = width / 2 / math.tan(math.radians(angle) / 2)
    around = local - middle
    room = MARGIN * np.array([width, height]) / 2
    distance = float((np.abs(around[:, :2]) * focal / room - around[:, 2:]).max())
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation
    world_to_camera[:3, 3] = np.array([0, 0, max(distance, 1e-6)]) - middle
    return Camera(
        world_to_camera=torch.from_numpy(world_to_camera),
        fx=focal,
        fy=focal,
        cx=width / 2,
        cy=height / 2,
        width=width,
        height=height,
    )


def without_strays(positions: np.ndarray) -> np.ndarray:
    """Keep the points [m, 3] of a cloud [n, 3] inside the box of its middle quantiles, which an image has to show."""
    if len(positions) == 0:
        return positions
    low, high = np.quantile(positions, _SHOWN, axis=0)
    return positions[((positions >= low) & (positions <= high)).all(axis=1)]


def frusta(cameras: Sequence[Camera], depth: float) -> np.ndarray:
    """Give corners [cameras, 5, 3] in world units: each centre, then the image's corners at a depth, clockwise."""
    corners = []
    for camera in cameras:
        x = (np.array([0, camera.width, camera.width, 0]) - camera.cx) / camera.fx
        y = (np.array([0, 0, camera.height, camera.height]) - camera.cy) / camera.fy
        local = np.stack([np.append(0, x), np.append(0, y), np.append(0, np.ones(4))], axis=1) * depth
        corners.append(transformed(local, camera.camera_to_world.double().numpy()))
    return np.stack(corners)


def frustum_depth(cameras: Sequence[Camera]) -> float:
    """Choose a depth of frusta that keeps neighbours apart: 0.6 of the median distance to the nearest camera."""
    centres = np.stack([camera.centre.double().numpy() for camera in cameras])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    known = nearest[np.isfinite(nearest) & (nearest > 0)]
    return 0.6 * float(np.median(known)) if len(known) else 1.0
