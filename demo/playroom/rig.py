"""The rig: cameras on a forward-facing arc, the held-out one in its middle."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin, tan

import numpy as np
import torch
from moegs_rasterizer import Camera, camera_rays

from demo.playroom.arrays import Array
from demo.playroom.tracer import Rays

TARGET = np.array([0.0, 0.1, 4.2])  # metres
RADIUS = 4.4
# Degrees of yaw and pitch about the target; row 0 is cam00, which N3V holds out.
ANGLES = ((1, 0), (-24, -5), (-16, 7), (-9, -7), (-5, 6), (7, -6), (11, 7), (18, -6), (25, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class RigSize:
    """Sizes of the rig and of its videos."""

    width: int = 160
    height: int = 120
    num_frames: int = 30
    num_cameras: int = len(ANGLES)
    field_of_view: float = 62.0  # degrees across


def rig_cameras(size: RigSize) -> list[Camera]:
    """Cameras cam00, cam01, …, all looking at one point."""
    focal = 0.5 * size.width / tan(radians(size.field_of_view) / 2)
    return [_camera(yaw, pitch, size, focal) for yaw, pitch in ANGLES[: size.num_cameras]]


def pixel_rays(camera: Camera, *, supersampling: int) -> Rays:
    """Rays through supersampling x supersampling points of every pixel, rows of the finer image first."""
    finer = Camera(
        world_to_camera=camera.world_to_camera,
        fx=camera.fx * supersampling,
        fy=camera.fy * supersampling,
        cx=camera.cx * supersampling,
        cy=camera.cy * supersampling,
        width=camera.width * supersampling,
        height=camera.height * supersampling,
    )
    rays = camera_rays(finer).reshape(6, -1).T.numpy()
    return Rays(origin=rays[0, :3].copy(), directions=np.ascontiguousarray(rays[:, 3:]))


def poses_bounds(cameras: list[Camera], *, near: float, far: float) -> Array:
    """Rows [n, 17] of an LLFF poses_bounds.npy: 3 x 5 (down, right, back, centre, height-width-focal), near, far."""
    rows = []
    for camera in cameras:
        pose = camera.camera_to_world.double().numpy()
        right, down, forward, centre = pose[:3, :4].T
        size = np.array([camera.height, camera.width, camera.fx])
        rows.append(np.concatenate([np.stack([down, right, -forward, centre, size], axis=1).ravel(), [near, far]]))
    return np.stack(rows)


def _camera(yaw: float, pitch: float, size: RigSize, focal: float) -> Camera:
    y, p = radians(yaw), radians(pitch)
    forward = np.array([-sin(y) * cos(p), sin(p), cos(y) * cos(p)])
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])  # world to camera: x right, y down, z forward
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = rotation
    world_to_camera[:3, 3] = -rotation @ (TARGET - RADIUS * forward)
    return Camera(
        world_to_camera=torch.from_numpy(world_to_camera).float(),
        fx=focal,
        fy=focal,
        cx=size.width / 2,
        cy=size.height / 2,
        width=size.width,
        height=size.height,
    )
