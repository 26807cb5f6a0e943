from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera
from scipy.spatial.transform import Rotation

from engine.viewer.cameras import camera_of, letterboxed, path_json, path_through, pose_at, pose_of, same_place, size_of
from scenes.camera_files import read_cameras


@pytest.fixture
def camera() -> Camera:
    to_camera = np.eye(4)
    to_camera[:3, :3] = Rotation.from_euler("xyz", [20, -35, 10], degrees=True).as_matrix()
    to_camera[:3, 3] = [0.5, -1.0, 2.0]
    pose = torch.from_numpy(to_camera).float()
    return Camera(world_to_camera=pose, fx=120, fy=120, cx=80, cy=60, width=160, height=120)


@pytest.mark.parametrize("aspect", [160 / 120, 3.0])
def test_a_browser_at_a_camera_sees_what_it_sees(camera: Camera, aspect: float) -> None:
    pose = pose_at(camera, aspect)
    again = camera_of(pose, round(120 * aspect), 120)
    torch.testing.assert_close(again.world_to_camera, camera.world_to_camera)
    assert again.fy == pytest.approx(120)
    assert same_place(pose, replace(pose, wxyz=tuple(-value for value in pose.wxyz)))
    assert not same_place(pose, replace(pose, position=(0.0, 0.0, 0.0)))


def test_a_narrow_window_sees_the_whole_width(camera: Camera) -> None:
    seen = camera_of(pose_at(camera, 0.5), 100, 200)
    assert seen.fx == pytest.approx(100 / 160 * 120)


@pytest.mark.parametrize(
    "sent",
    [
        ((0, 0, 0, 0), (0, 0, 0), 1, (100, 100)),
        ((1, 0, 0), (0, 0, 0), 1, (100, 100)),
        ((1, 0, 0, 0), (math.nan, 0, 0), 1, (100, 100)),
        ((1, 0, 0, 0), (0, 0, math.inf), 1, (100, 100)),
        ((1, 0, 0, 0), (1e30, 0, 0), 1, (100, 100)),
        ((1, 0, 0, 0), ("x", 0, 0), 1, (100, 100)),
        ((1, 0, 0, 0), (0, 0, 0), None, (100, 100)),
        ((1, 0, 0, 0), (0, 0, 0), 1, (0, 100)),
    ],
)
def test_nonsense_is_no_camera(sent) -> None:
    assert pose_of(*sent) is None


def test_a_camera_is_kept_within_limits() -> None:
    pose = pose_of((2, 0, 0, 0), (1, 2, 3), 9.0, (1e6, 1))
    assert pose is not None
    assert pose.wxyz == (1, 0, 0, 0) and pose.fov == math.radians(150) and pose.aspect == 8


def test_the_longer_side_has_the_width() -> None:
    assert size_of(2.0, 100) == (100, 50) and size_of(0.25, 100) == (25, 100)


def test_a_recorded_image_stands_in_the_middle_of_the_window() -> None:
    image = np.full((20, 40, 3), 200, np.uint8)
    boxed = letterboxed(image, 1.0)
    assert boxed.shape == (40, 40, 3) and (boxed[10:30] == 200).all() and (boxed[:10] == 24).all()
    assert letterboxed(image, 2.0).shape == image.shape


def test_json_is_what_trajectory_reads(camera: Camera, tmp_path: Path) -> None:
    file = tmp_path / "camera.json"
    file.write_text(path_json([(camera, 2.5), (camera, None)]))
    first, second = read_cameras(file)
    torch.testing.assert_close(first.camera.world_to_camera, camera.world_to_camera)
    assert replace(first.camera, world_to_camera=camera.world_to_camera) == camera
    assert (first.frame, second.frame) == (2.5, None)


def test_a_path_passes_its_keys(camera: Camera, tmp_path: Path) -> None:
    later = replace(camera, world_to_camera=torch.eye(4), fx=240.0, fy=240.0)
    way = path_through([(camera, 0), (later, 10), (camera, 4)], 5)
    assert [frame for _, frame in way] == [0, 5, 10, 7, 4]
    assert [one.fy for one, _ in way] == [120, 180, 240, 180, 120]
    for index, key in ((0, camera), (2, later), (4, camera)):
        torch.testing.assert_close(way[index][0].world_to_camera, key.world_to_camera, atol=1e-5, rtol=0)
    file = tmp_path / "path.json"
    file.write_text(path_json(way))
    assert len(read_cameras(file)) == 5
