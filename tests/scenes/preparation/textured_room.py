"""Images of a room's corner: three textured planes, cast ray by ray, whose geometry is known exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from moegs_rasterizer import Camera
from PIL import Image

from scenes.preparation.sfm.attempts import CloudReport
from scenes.preparation.sfm.matching import SfmOptions

WIDTH, HEIGHT, FOCAL = 240, 180, 195.0
PLANES = ((2, 4.0), (1, 1.2), (0, -1.8))  # axis and where it meets it: back wall, floor, left wall
CELLS = 24  # texels of the finest octave per world unit
OPTIONS = SfmOptions(threads=1, max_features=500, progress=False)


@dataclass(frozen=True)
class Made:
    """The room's cameras and images, with the folder and the report of the reconstruction made from them."""

    cameras: dict[str, Camera]  # the true ones
    images: dict[str, Path]
    target: Path
    report: CloudReport


def room_cameras(count: int = 6, *, off_centre: tuple[float, float] = (0.0, 0.0)) -> dict[str, Camera]:
    """An arc of cameras that look at the corner; principal points move off the middle with the camera's number."""
    cameras = {}
    for index in range(count):
        side = index / (count - 1) - 0.5
        eye = np.array([1.6 * side + 0.3, -0.15 + 0.3 * (index % 2), 0.3 * abs(side)])
        forward = np.array([-0.4, 0.35, 3.4]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        world_to_camera = torch.eye(4, dtype=torch.float64)
        world_to_camera[:3, :3] = torch.from_numpy(rotation)
        world_to_camera[:3, 3] = torch.from_numpy(-rotation @ eye)
        cameras[f"cam{index:02d}"] = Camera(
            world_to_camera=world_to_camera,
            fx=FOCAL,
            fy=FOCAL,
            cx=WIDTH / 2 + off_centre[0] * (index + 1),
            cy=HEIGHT / 2 + off_centre[1] * (index + 1),
            width=WIDTH,
            height=HEIGHT,
        )
    return cameras


def image(camera: Camera, *, distortion: float = 0.0) -> np.ndarray:
    """uint8 [height, width, 3] of the room through a SIMPLE_RADIAL lens."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    bent = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy], axis=-1)
    straight = bent
    for _ in range(20 if distortion else 0):
        straight = bent / (1 + distortion * np.square(straight).sum(-1, keepdims=True))
    world = camera.camera_to_world.numpy()
    rays = np.concatenate([straight, np.ones_like(x)[..., None]], axis=-1) @ world[:3, :3].T
    reach = np.full(x.shape, np.inf)
    colours = np.zeros((*x.shape, 3))
    for number, (axis, place) in enumerate(PLANES):
        with np.errstate(divide="ignore"):
            far = (place - world[axis, 3]) / rays[..., axis]
        nearer = (far > 0) & (far < reach)
        hits = world[:3, 3] + far[nearer][:, None] * rays[nearer]
        colours[nearer] = _texture(number, np.delete(hits, axis, axis=1))
        reach[nearer] = far[nearer]
    return (255 * colours).round().astype(np.uint8)


def write_room(
    folder: Path, cameras: Mapping[str, Camera], *, distortion: float = 0.0, suffix: str = ".png"
) -> dict[str, Path]:
    """Writes one image per camera; returns the files by the camera's name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"view_{name}{suffix}" for name in cameras}
    for name, camera in cameras.items():
        Image.fromarray(image(camera, distortion=distortion)).save(paths[name])
    return paths


def distances(points: np.ndarray) -> np.ndarray:
    """Distance of each point [n, 3] to the nearest plane."""
    return np.min([np.abs(points[:, axis] - place) for axis, place in PLANES], axis=0)


@cache
def _grids(plane: int) -> list[np.ndarray]:
    rng = np.random.default_rng(plane)
    return [rng.uniform(-0.35, 0.35, (256, 256, 3)) for _ in range(4)]


def _texture(plane: int, places: np.ndarray) -> np.ndarray:
    """RGB in 0 ... 1 at places [n, 2] of a plane: smooth noise of four sizes."""
    colours = np.full((len(places), 3), 0.5)
    for octave, grid in enumerate(_grids(plane)):
        spots = (places + 20) * CELLS / 2**octave
        cell = np.floor(spots).astype(int)
        u, v = (spots - cell).T[..., None]
        i, j = cell.T % 256
        k, m = (i + 1) % 256, (j + 1) % 256
        colours += (1 - v) * ((1 - u) * grid[i, j] + u * grid[k, j]) + v * ((1 - u) * grid[i, m] + u * grid[k, m])
    return colours.clip(0, 1)
