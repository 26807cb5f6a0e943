"""Points and directions in space: between frames, onto an image, turned by quaternions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

Points = TypeVar("Points", Tensor, np.ndarray)


def transformed(points: Points, motion: Points) -> Points:
    """Move points [..., 3] by a rigid motion [4, 4], such as world to camera: rotation first, then translation."""
    return points @ motion[:3, :3].T + motion[:3, 3]


def onto_image(
    local: Tensor, focal: tuple[float, float], centre: tuple[float, float], *, focal_first: bool = False
) -> Tensor:
    """Project points [n, 3] of a camera's frame (x right, y down, z forward) to pixels [n, 2], x before y.

    focal, centre: focal lengths and principal point, px. Pixels of points that are not before the camera mean nothing.
    focal_first: multiply by the focal length before dividing by the depth, which gives other last bits.
    """
    depths = local[:, 2]

    def along(axis: int) -> Tensor:
        offset = local[:, axis]
        scaled = focal[axis] * offset / depths if focal_first else offset / depths * focal[axis]
        return scaled + centre[axis]

    return torch.stack([along(0), along(1)], dim=1)


def turned(vectors: Tensor, quats: Tensor) -> Tensor:
    """Turn vectors [n, 3] by quaternions [n, 4] wxyz of any length; a zero one turns nothing."""
    unit = normalize(quats, dim=1)
    real, axis = unit[:, :1], unit[:, 1:]
    across = 2 * torch.linalg.cross(axis, vectors)
    return vectors + real * across + torch.linalg.cross(axis, across)


def rotation_of(quat: Sequence[float]) -> Tensor:
    """Compute the rotation matrix [3, 3], float64, of a quaternion wxyz of any length but 0."""
    w, x, y, z = (torch.tensor(quat, dtype=torch.float64) / torch.tensor(quat, dtype=torch.float64).norm()).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
