"""Cameras of a `poses_bounds.npy` (LLFF's format, used by N3V)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from moegs_rasterizer import Camera

from common.deferred import deferred
from common.disk.arrays import read_array
from common.disk.faults import reading
from scenes.types import SceneError

if TYPE_CHECKING:
    import torch
else:
    torch = deferred("torch")

POSES = "poses_bounds.npy"


def read_poses_bounds(path: Path, names: Sequence[str]) -> dict[str, Camera]:
    """Read cameras by name; row i belongs to names[i], which must be sorted as the files are.

    Each row holds a 3 x 5 matrix (rotation columns down, right, back; centre; height, width, focal length in px), then
    near and far, which are not used. World units as the file has them; principal points are the image centres.
    SceneError where the file is unreadable, is no [n, 17] table, does not have one row a camera, or the names' order
    is unclear: cam2 comes before cam10, but sorted as text it comes after.
    """
    if list(names) != sorted(names):
        raise SceneError(
            f"{path}: rows are in the order of the cameras' names, which is unclear for {', '.join(names)}; "
            "give all names as many digits (cam02, cam10), with the rows in that order"
        )
    with reading(path, "not a readable numpy file", SceneError, advice="copy it again"):
        rows = read_array(path)
    if rows.ndim != 2 or rows.shape[1] != 17 or not np.issubdtype(rows.dtype, np.floating):
        raise SceneError(
            f"{path}: {rows.dtype} table of shape {list(rows.shape)}, expected floats of shape [cameras, 17]"
        )
    if len(rows) != len(names):
        raise SceneError(
            f"{path}: {len(rows)} rows, but {len(names)} cameras have frames ({', '.join(names)}); "
            "remove the rows of cameras you removed, or complete the footage"
        )
    from scenes.calibration.cameras import checked  # it takes a second to import PyTorch

    cameras = {name: _camera(path, name, row.astype(np.float64)) for name, row in zip(names, rows, strict=True)}
    return {name: checked(camera, f"{path}: {name}") for name, camera in cameras.items()}


def _camera(path: Path, name: str, row: np.ndarray) -> Camera:
    matrix = row[:15].reshape(3, 5)
    down, right, back, centre = matrix[:, :4].T
    camera_to_world = np.eye(4)
    camera_to_world[:3] = np.stack([right, down, -back, centre], axis=1)
    height, width, focal = matrix[:, 4]
    rotation = camera_to_world[:3, :3]
    orthonormal = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0
    if not (np.isfinite(row).all() and orthonormal and height >= 1 and width >= 1 and focal > 0):
        raise SceneError(
            f"{path}: the row of {name} is no camera (rotation columns down, right, back and a positive height, width "
            "and focal length are expected); write the file again"
        )
    return Camera(
        world_to_camera=torch.from_numpy(np.linalg.inv(camera_to_world)),
        fx=float(focal),
        fy=float(focal),
        cx=float(width) / 2,
        cy=float(height) / 2,
        width=round(width),
        height=round(height),
    )
