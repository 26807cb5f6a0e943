from __future__ import annotations

import math

import pytest
import torch
from moegs_rasterizer import Camera

from scenes.novel_views import rig_up, shifted, with_focal_mm
from scenes.types import SceneError, View


def look(roll: float, pitch: float, yaw: float, centre=(0.0, 0.0, 0.0)) -> Camera:
    """A camera whose axes are turned about y (yaw), x (pitch) and z (roll) from x right, y down, z forward."""

    def turn(axis: int, angle: float) -> torch.Tensor:
        c, s = math.cos(angle), math.sin(angle)
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        matrix = torch.eye(3, dtype=torch.float64)
        matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
        return matrix

    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = turn(1, yaw) @ turn(0, pitch) @ turn(2, roll)
    pose[:3, 3] = torch.tensor(centre, dtype=torch.float64)
    return Camera(world_to_camera=torch.linalg.inv(pose), fx=50, fy=60, cx=30, cy=21, width=64, height=40)


def views(*cameras: Camera) -> list[View]:
    return [View(name=f"cam{i:02d}", number=i, camera=camera) for i, camera in enumerate(cameras)]


def test_up_is_minus_y_of_the_rig_whatever_way_its_cameras_look():
    ring = views(*(look(0.0, 0.3, 2 * math.pi * k / 8, (k, 0, 1)) for k in range(8)))
    assert torch.allclose(rig_up(ring), torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64), atol=1e-12)
    one = views(look(0.4, 0.2, 0.1))
    assert torch.allclose(rig_up(one), -one[0].camera.camera_to_world[:3, 1])


def test_cancelling_up_directions_are_named():
    with pytest.raises(SceneError, match="cancel out"):
        rig_up(views(look(0.0, 0, 0), look(math.pi, 0, 0)))


def test_a_shift_moves_the_centre_and_nothing_else():
    camera = look(0.3, 0.2, 0.5, (1, 2, 3))
    offset = torch.tensor([0.0, -0.25, 0.1], dtype=torch.float64)
    moved = shifted(camera, offset)
    assert torch.allclose(moved.centre, camera.centre + offset, atol=1e-12)
    assert torch.equal(moved.world_to_camera[:3, :3], camera.world_to_camera[:3, :3])
    assert (moved.fx, moved.fy, moved.cx, moved.cy) == (50, 60, 30, 21)


def test_moving_up_moves_the_image_down():
    camera = look(0, 0, 0)
    moved = shifted(camera, rig_up(views(camera)) * 0.5)
    point = torch.tensor([0.0, 0.0, 4.0, 1.0], dtype=torch.float64)
    y = [camera.fy * p[1] / p[2] + camera.cy for p in (c.world_to_camera @ point for c in (camera, moved))]
    assert y[1] - y[0] == pytest.approx(60 * 0.5 / 4)


def test_focal_length_is_of_a_36_mm_wide_film():
    camera = with_focal_mm(look(0, 0, 0), 18.0)
    assert (camera.fx, camera.fy) == (32.0, 32.0)
    assert 2 * math.degrees(math.atan(camera.width / 2 / camera.fx)) == pytest.approx(90)
    assert (camera.cx, camera.cy) == (30, 21)
    with pytest.raises(SceneError, match="positive"):
        with_focal_mm(camera, 0)
