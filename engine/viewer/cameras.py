"""Cameras between a browser and the rasterizer, as JSON for --trajectory, and as a path through key cameras."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from moegs_rasterizer import Camera

from scenes.trajectories import interpolate
from scenes.types import View

WIDEST, NARROWEST = math.radians(150), math.radians(2)  # vertical field of view
MOST_ASPECT = 8.0  # of a window, either way
AROUND = 24  # grey of what lies beside a recorded camera's image


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """A browser's camera: camera-to-world, OpenCV axes, the principal point in the middle."""

    wxyz: tuple[float, float, float, float]
    position: tuple[float, float, float]
    fov: float  # vertical, radians
    aspect: float  # width / height of the window


def pose_of(wxyz: Iterable[Any], position: Iterable[Any], fov: Any, size: tuple[Any, Any]) -> Pose | None:
    """A pose of what a browser sent; None where that is no camera. size: width and height of the window, px."""
    try:
        numbers = [float(value) for value in (*wxyz, *position, fov, *size)]
    except (TypeError, ValueError):
        return None
    if len(numbers) != 10 or not all(map(math.isfinite, numbers)):
        return None
    quat, place, (fov, width, height) = numbers[:4], numbers[4:7], numbers[7:]
    length = math.hypot(*quat)
    if length < 1e-6 or max(map(abs, place)) > 1e6 or min(width, height) < 1:
        return None
    w, x, y, z = (value / length for value in quat)
    aspect = min(max(width / height, 1 / MOST_ASPECT), MOST_ASPECT)
    fov = min(max(fov, NARROWEST), WIDEST)
    return Pose(wxyz=(w, x, y, z), position=(place[0], place[1], place[2]), fov=fov, aspect=aspect)


def camera_of(pose: Pose, width: int, height: int) -> Camera:
    """The camera of a browser's pose, for an image of a size in px."""
    w, x, y, z = pose.wxyz
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    to_camera = np.eye(4)
    to_camera[:3, :3], to_camera[:3, 3] = rotation.T, -rotation.T @ np.array(pose.position)
    focal = height / 2 / math.tan(pose.fov / 2)
    return Camera(
        world_to_camera=torch.from_numpy(to_camera).float(),
        fx=focal,
        fy=focal,
        cx=width / 2,
        cy=height / 2,
        width=width,
        height=height,
    )


def pose_at(camera: Camera, aspect: float) -> Pose:
    """The pose from which a window of an aspect sees a camera's whole image; its principal point is left out."""
    from scipy.spatial.transform import Rotation  # here: importing it takes long

    to_world = np.linalg.inv(camera.world_to_camera.cpu().double().numpy())
    x, y, z, w = Rotation.from_matrix(to_world[:3, :3]).as_quat().tolist()
    across, down = camera.width / camera.fx / aspect, camera.height / camera.fy
    a, b, c = to_world[:3, 3].tolist()
    return Pose(wxyz=(w, x, y, z), position=(a, b, c), fov=2 * math.atan(max(across, down) / 2), aspect=aspect)


def same_place(one: Pose, other: Pose) -> bool:
    """True where two poses differ by no more than the rounding of a browser."""
    turned = abs(sum(a * b for a, b in zip(one.wxyz, other.wxyz, strict=True)))
    away = math.dist(one.position, other.position)
    return turned > 1 - 1e-6 and away < 1e-3 * (1 + math.hypot(*other.position)) and abs(one.fov - other.fov) < 1e-3


def size_of(aspect: float, width: int) -> tuple[int, int]:
    """Width and height of an image of an aspect whose longer side has `width` px."""
    if aspect >= 1:
        return width, max(1, round(width / aspect))
    return max(1, round(width * aspect)), width


def letterboxed(image: np.ndarray, aspect: float) -> np.ndarray:
    """An image, uint8 [h, w, 3], in the middle of a grey one of a window's aspect."""
    height, width = image.shape[:2]
    full = (max(height, round(width / aspect)), max(width, round(height * aspect)))
    canvas = np.full((*full, 3), AROUND, dtype=np.uint8)
    top, left = (full[0] - height) // 2, (full[1] - width) // 2
    canvas[top : top + height, left : left + width] = image
    return canvas


def path_json(cameras: Sequence[tuple[Camera, float | None]]) -> str:
    """Cameras, each with the frame to show or None, as the JSON that --trajectory reads."""
    entries = [
        {
            "world_to_camera": [[round(value, 7) for value in row] for row in camera.world_to_camera.tolist()],
            **{name: round(float(getattr(camera, name)), 4) for name in ("fx", "fy", "cx", "cy")},
            "width": camera.width,
            "height": camera.height,
            **({} if frame is None else {"frame": frame}),
        }
        for camera, frame in cameras
    ]
    return "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in entries) + "\n]\n"


def path_through(keys: Sequence[tuple[Camera, float]], count: int) -> list[tuple[Camera, float]]:
    """`count` cameras and frames on the smooth way through key cameras, which share a size; frames change evenly.

    The way is that of --trajectory interpolate. Focal lengths change evenly between keys.
    """
    views = [View(name=f"key{index:04d}", number=index, camera=camera) for index, (camera, _) in enumerate(keys)]
    at, marks = np.linspace(0, len(keys) - 1, count), np.arange(len(keys))
    frames = np.interp(at, marks, [frame for _, frame in keys])
    focals = np.interp(at, marks, [camera.fy for camera, _ in keys])
    return [
        (replace(camera, fx=float(focal), fy=float(focal)), round(float(frame), 3))
        for camera, focal, frame in zip(interpolate(views, keys[0][0], count), focals, frames, strict=True)
    ]
