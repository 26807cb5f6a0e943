"""Cameras between neighbouring training cameras: where a viewer is likely to stand, found without held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from moegs_rasterizer import Camera

NEIGHBOURS = 9  # of each camera, the nearest ones: with fewer, floaters stay that no camera between comes close to


def between_neighbours(cameras: Sequence[Camera]) -> list[Camera]:
    """The camera half-way between each camera and each of its NEIGHBOURS nearest ones, with the former's intrinsics.

    Cameras that share their centre have none between them.
    """
    from scipy.spatial.transform import Rotation, Slerp  # here: importing it takes long

    poses = np.stack([np.linalg.inv(camera.world_to_camera.cpu().double().numpy()) for camera in cameras])
    found = []
    for one, other in _pairs(poses[:, :3, 3]):
        pose = np.eye(4)
        pose[:3, 3] = poses[[one, other], :3, 3].mean(axis=0)
        pose[:3, :3] = Slerp([0, 1], Rotation.from_matrix(poses[[one, other], :3, :3]))(0.5).as_matrix()
        like = cameras[one]
        found.append(replace(like, world_to_camera=torch.from_numpy(np.linalg.inv(pose)).to(like.world_to_camera)))
    return found


def _pairs(centres: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of cameras, each once, of which one is among the nearest of the other."""
    distances = np.linalg.norm(centres[:, None] - centres, axis=2)
    distances[distances == 0] = np.inf
    pairs = set()
    for one, row in enumerate(distances):
        for other in np.argsort(row, kind="stable")[:NEIGHBOURS]:
            if np.isfinite(row[other]):
                pairs.add((min(one, int(other)), max(one, int(other))))
    return sorted(pairs)
