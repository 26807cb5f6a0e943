from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera

from scenes.camera_files import read_cameras
from scenes.trajectories import interpolate, looked_at, orbit, spiral
from scenes.types import SceneError, View

TARGET = np.array([0.5, -0.2, 4.0])
UP = np.array([0.0, -1.0, 0.0])


def at(centre: tuple[float, float, float], target: np.ndarray = TARGET) -> Camera:
    """A camera that looks at a point, upright."""
    forward = target - np.array(centre)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, UP)
    right = right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = centre
    return Camera(
        world_to_camera=torch.from_numpy(np.linalg.inv(pose)).float(), fx=50, fy=60, cx=31, cy=21, width=64, height=40
    )


def views(*cameras: Camera, names: tuple[str, ...] = ()) -> list[View]:
    names = names or tuple(f"cam{number:02d}" for number in range(len(cameras)))
    return [
        View(name=name, number=number, camera=camera)
        for number, (name, camera) in enumerate(zip(names, cameras, strict=True))
    ]


def arc(degrees: tuple[float, ...], radius: float = 4.0) -> list[View]:
    """Cameras around TARGET, 0 degrees in front of it, all at its height."""
    turns = [math.radians(angle) for angle in degrees]
    return views(*(at((TARGET[0] + radius * math.sin(a), TARGET[1], TARGET[2] - radius * math.cos(a))) for a in turns))


def centres(cameras: list[Camera]) -> np.ndarray:
    return np.stack([camera.centre.numpy() for camera in cameras])


def pixel_of(camera: Camera, point: np.ndarray) -> list[float]:
    x, y, z, _ = (camera.world_to_camera.double() @ torch.tensor([*point, 1.0], dtype=torch.float64)).tolist()
    assert z > 0
    return [camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy]


def test_a_rig_looks_at_the_point_where_its_axes_meet():
    assert looked_at(arc((-40, -10, 30))) == pytest.approx(TARGET, abs=1e-4)
    ring = arc(tuple(45.0 * number for number in range(8)))
    assert looked_at(ring) == pytest.approx(TARGET, abs=1e-4)


def test_parallel_cameras_look_at_a_far_point_ahead():
    ahead = np.array([0.0, 0.0, 1e9])
    rig = views(*(at((x, 0.0, 0.0), ahead) for x in (-1.0, 0.0, 1.0)))
    assert looked_at(rig) == pytest.approx([0, 0, 10], abs=1e-4)  # ten times the rig's radius of 1


@pytest.mark.parametrize("path", [spiral, orbit])
def test_the_camera_keeps_looking_at_the_same_point(path):
    rig = arc((-40, -10, 30))
    for camera in path(rig, rig[0].camera, 16):
        assert pixel_of(camera, TARGET) == pytest.approx([31, 21], abs=1e-2)  # the principal point
        assert (camera.fx, camera.fy, camera.width, camera.height) == (50, 60, 64, 40)
        assert camera.world_to_camera[0, 1].item() == pytest.approx(0, abs=1e-5)  # upright: x is level


def test_an_orbit_stays_on_the_arc_and_comes_back():
    rig = arc((-40, -10, 30))
    offsets = centres(orbit(rig, rig[0].camera, 40)) - TARGET
    assert np.hypot(offsets[:, 0], offsets[:, 2]) == pytest.approx(4, abs=1e-3)
    assert offsets[:, 1] == pytest.approx(0, abs=1e-3)
    angles = np.degrees(np.arctan2(offsets[:, 0], -offsets[:, 2]))
    assert (angles.min(), angles.max()) == pytest.approx((-40, 30), abs=0.01)
    assert angles[0] == pytest.approx(-5, abs=0.01) and angles[20] == pytest.approx(-5, abs=0.01)


def test_a_ring_is_walked_around():
    ring = arc(tuple(30.0 * number for number in range(12)))
    offsets = centres(orbit(ring, ring[0].camera, 8)) - TARGET
    angles = np.unwrap(np.arctan2(offsets[:, 0], -offsets[:, 2]))
    assert np.abs(np.diff(angles)) == pytest.approx([math.pi / 4] * 7, abs=1e-3)


def test_a_spiral_spans_half_of_the_rig_around_its_mean():
    ahead = np.array([0.0, 0.0, 1e9])
    rig = views(*(at((x, y, 0.0), ahead) for x in (-2.0, 2.0) for y in (-1.0, 1.0)))
    path = centres(spiral(rig, rig[0].camera, 64))
    assert path.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-4)
    assert path.max(axis=0) == pytest.approx([1, 0.5, 0], abs=1e-4)
    assert path.min(axis=0) == pytest.approx([-1, -0.5, 0], abs=1e-4)


def test_interpolation_passes_the_cameras_in_natural_order():
    cameras = [at((2.0, 0, 0)), at((-1.0, 0.3, 0)), at((0.5, 0, 0.2))]
    rig = views(*cameras, names=("cam10", "cam1", "cam2"))
    path = interpolate(rig, cameras[0], 5)
    for camera, index in ((path[0], 1), (path[2], 2), (path[4], 0)):
        assert torch.allclose(camera.world_to_camera, cameras[index].world_to_camera, atol=1e-5)
    for camera in path:
        rotation = camera.world_to_camera[:3, :3]
        assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)


def test_interpolation_between_cameras_on_a_line_is_even():
    ahead = np.array([0.0, 0.0, 1e9])
    rig = views(*(at((float(x), 0.0, 0.0), ahead) for x in range(4)))
    path = centres(interpolate(rig, rig[0].camera, 13))
    assert path[:, 0] == pytest.approx(np.linspace(0, 3, 13), abs=1e-5)
    assert path[:, 1:] == pytest.approx(np.zeros((13, 2)), abs=1e-5)


def test_interpolation_turns_half_way_at_half_time():
    turned = at((0.0, 0.0, 0.0), np.array([1.0, 0.0, 1.0]))  # 45 degrees to the right
    straight = at((0.0, 0.0, 0.0), np.array([0.0, 0.0, 1.0]))
    middle = interpolate(views(straight, turned), straight, 3)[1]
    forward = middle.camera_to_world[:3, 2].tolist()
    assert forward == pytest.approx([math.sin(math.pi / 8), 0, math.cos(math.pi / 8)], abs=1e-5)


OWN = {"world_to_camera": np.eye(4).tolist(), "fx": 20, "fy": 21, "cx": 16, "cy": 12, "width": 32, "height": 24}


def write(folder, content):
    path = folder / "path.json"
    path.write_text(json.dumps(content))
    return path


def test_a_file_of_cameras(tmp_path):
    first, second = read_cameras(write(tmp_path, [OWN, {**OWN, "frame": 2.5}]))
    assert (first.frame, second.frame) == (None, 2.5)
    camera = first.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height) == (20, 21, 16, 12, 32, 24)
    assert torch.equal(camera.world_to_camera, torch.eye(4))


def test_a_camera_path_of_nerfstudio(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = (1, 2, 3)
    entry = {"camera_to_world": pose.ravel().tolist(), "fov": 90, "aspect": 1.5}
    content = {"render_width": 60, "render_height": 40, "camera_path": [entry, {**entry, "fov": 60}]}
    first, second = (each.camera for each in read_cameras(write(tmp_path, content)))
    assert (first.fx, first.fy, first.cx, first.cy, first.width, first.height) == pytest.approx(
        (20, 20, 30, 20, 60, 40)
    )
    assert second.fy == pytest.approx(20 / math.tan(math.radians(30)))
    assert first.centre.tolist() == [1, 2, 3]
    # OpenGL's camera looks along -z with y up: a point before it, above the axis, lies in the upper half of the image
    assert pixel_of(first, np.array([1.0, 3.0, 1.0])) == pytest.approx([30, 20 - 20 / 2])
    del content["render_width"]
    assert read_cameras(write(tmp_path, content))[0].camera.width == 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds no camera"),
        ({"frames": []}, "an object with the list 'camera_path' expected"),
        ([{**OWN, "fx": None}], r"\[0\]: fx is missing: a number expected"),
        ([OWN, {**OWN, "fy": "20"}], r"\[1\]: fy is '20'"),
        ([{**OWN, "fx": -1}], r"\[0\].fx is -1: more than 0"),
        ([{**OWN, "width": 32.5}], r"\[0\].width is 32.5: a whole number of pixels"),
        ([{**OWN, "world_to_camera": [[1, 0], [0, 1]]}], r"\[0\]: world_to_camera is something else: 4 x 4 numbers"),
        ([{**OWN, "world_to_camera": (2 * np.eye(4)).tolist()}], r"\[0\].world_to_camera: a rotation"),
        ([OWN, {**OWN, "height": 26}], "cannot share a video"),
        ([3], r"\[0\] is 3: an object expected"),
        ({"camera_path": [{}], "render_height": 4, "render_width": 4}, r"camera_path\[0\]: fov is missing"),
        ({"camera_path": [{"fov": 50}]}, "render_height is missing"),
    ],
)
def test_faults_of_a_file_name_file_and_key(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(SceneError, match=message) as fault:
        read_cameras(path)
    assert str(path) in str(fault.value) and "\n" not in str(fault.value)


def test_what_is_no_json_is_named(tmp_path):
    path = tmp_path / "path.json"
    path.write_text("[{")
    with pytest.raises(SceneError, match="is no JSON"):
        read_cameras(path)
