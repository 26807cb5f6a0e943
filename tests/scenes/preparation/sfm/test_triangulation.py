from __future__ import annotations

import struct
import sys
from dataclasses import replace
from math import cos, sin
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera
from PIL import Image

from scenes import SceneError
from scenes.calibration.cameras import scaled
from scenes.calibration.colmap_model import read_colmap_cameras
from scenes.points.files import read_points
from scenes.preparation.sfm.known_cameras import pose_of
from scenes.preparation.sfm.triangulation import triangulated
from tests.scenes.preparation.sfm.remembered_matches import RememberedMatches
from tests.scenes.preparation.textured_room import OPTIONS, Made, distances, room_cameras, write_room


@pytest.fixture(scope="module")
def matches(tmp_path_factory) -> RememberedMatches:
    return RememberedMatches(tmp_path_factory.mktemp("matches"))


@pytest.fixture(scope="module")
def room(tmp_path_factory, matches) -> Made:
    """Six cameras with principal points off the middle, triangulated."""
    folder = tmp_path_factory.mktemp("room")
    cameras = room_cameras(off_centre=(3.0, -2.0))
    images = write_room(folder / "images", cameras)
    target = folder / "colmap_7"
    with pytest.MonkeyPatch.context() as patch:
        matches.used_by(patch)
        report = triangulated(images, cameras, target, OPTIONS)
    return Made(cameras, images, target, report)


def grey(folder: Path, cameras: dict[str, Camera], noise: float = 0.0) -> dict[str, Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, camera in cameras.items():
        values = 128 + noise * rng.standard_normal((camera.height, camera.width))
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return {name: folder / f"{name}.png" for name in cameras}


def test_points_lie_on_the_room(room):
    points = read_points(room.target / "sparse" / "0" / "points3D.bin")
    away = distances(points.positions)
    # Seen: median 0.003, 90 % below 0.013, of a room 4 deep; the wrong matches of noise make the tail.
    assert np.median(away) < 0.008
    assert np.quantile(away, 0.9) < 0.04
    assert len(away) == room.report.points > 300
    assert room.report.median_error < 0.3  # seen: 0.08 px
    assert np.ptp(points.colours, axis=0).min() > 0.3


def test_the_report_counts_and_names_what_was_tried(room):
    assert (room.report.cameras, room.report.registered) == (6, 6)
    (line,) = room.report.tried
    assert line.startswith("500 features, peak 0.004, edge 30: 6/6 cameras, ")
    assert f"{room.report.points:,} points, median reprojection error 0." in line
    assert line.endswith("100% of the matches confirm the cameras")


def test_poses_and_intrinsics_are_kept_to_the_bit(room):
    stored = _images_of(room.target / "sparse" / "0" / "images.bin")
    read = read_colmap_cameras(room.target / "sparse" / "0")
    assert sorted(stored) == [f"{name}.png" for name in sorted(room.cameras)]
    for name, camera in room.cameras.items():
        quaternion, translation, points = stored[f"{name}.png"]
        x, y, z, w = pose_of(camera).rotation.quat
        assert quaternion == (w, x, y, z)
        assert translation == tuple(camera.world_to_camera[:3, 3].tolist())
        assert points > 100
        ours, theirs = (replace(one, world_to_camera=camera.world_to_camera) for one in (camera, read[name]))
        assert ours == theirs
        assert float((camera.world_to_camera - read[name].world_to_camera).abs().max()) < 1e-15


def test_what_lies_in_the_folder(room):
    assert sorted(path.name for path in room.target.iterdir()) == ["images", "sparse"]
    assert [path.name for path in room.target.parent.iterdir() if path.name.startswith(".")] == []
    for name, path in room.images.items():
        assert (room.target / "images" / f"{name}.png").read_bytes() == path.read_bytes()


def test_the_same_bits_for_any_number_of_threads(room, tmp_path):
    again = triangulated(room.images, room.cameras, tmp_path / "colmap_7", replace(OPTIONS, threads=2))
    assert again == room.report
    for name in ("points3D.bin", "images.bin", "cameras.bin"):
        first, second = (target / "sparse" / "0" / name for target in (room.target, tmp_path / "colmap_7"))
        assert first.read_bytes() == second.read_bytes(), name


def test_cameras_calibrated_at_another_size(room, tmp_path, matches, monkeypatch):
    matches.used_by(monkeypatch)
    cameras = {name: scaled(camera, 480, 360) for name, camera in room.cameras.items()}
    triangulated(room.images, cameras, tmp_path / "colmap_0", OPTIONS)
    read = read_colmap_cameras(tmp_path / "colmap_0" / "sparse" / "0")["cam03"]
    assert (read.width, read.fx, read.cx, read.cy) == (240, 195.0, 132.0, 82.0)
    uneven = {name: replace(camera, height=200) for name, camera in room.cameras.items()}
    with pytest.raises(SceneError, match=r"cam00: frames of 240x180 px do not have the aspect ratio"):
        triangulated(room.images, uneven, tmp_path / "colmap_1", OPTIONS)
    assert not (tmp_path / "colmap_1").exists()


def test_few_points_make_a_second_attempt(room, tmp_path):
    few = replace(OPTIONS, max_features=40)
    four = {name: path for name, path in room.images.items() if name < "cam04"}
    report = triangulated(four, room.cameras, tmp_path / "colmap_0", few)
    first, second = report.tried
    assert first.startswith("40 features, peak 0.004")
    assert second.startswith(
        "80 features, peak 0.002, edge 30, domain-size pooling, verified by the known cameras, two-view points: 4/4"
    )
    assert f"{report.points:,} points" in second


def test_images_without_features_fail_after_two_attempts(tmp_path):
    cameras = room_cameras()
    images = grey(tmp_path / "images", cameras)
    with pytest.raises(SceneError) as failure:
        triangulated(images, cameras, tmp_path / "colmap_0", replace(OPTIONS, accept_poor=True))
    message = str(failure.value)
    assert "too poor: 0 points, at least 100 are expected. Tried: 500 features" in message
    assert "edge 30: 0/6 cameras, 0 points, 0% of the matches confirm the cameras; " in message
    assert "; 1000 features, peak 0.002, edge 30, domain-size pooling" in message
    assert "\n" not in message
    assert not (tmp_path / "colmap_0").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_camera_that_nods_after_its_calibration_is_named(room, tmp_path, matches, monkeypatch):
    matches.used_by(monkeypatch)
    turn = torch.eye(4, dtype=torch.float64)
    turn[1, 1] = turn[2, 2] = cos(0.3)
    turn[1, 2], turn[2, 1] = -sin(0.3), sin(0.3)
    camera = room.cameras["cam02"]
    cameras = {**room.cameras, "cam02": replace(camera, world_to_camera=turn @ camera.world_to_camera)}
    with pytest.raises(SceneError, match=r"the matches contradict cam02\. Tried: .* belongs to its camera"):
        triangulated(room.images, cameras, tmp_path / "colmap_0", OPTIONS)
    assert not (tmp_path / "colmap_0").exists()
    report = triangulated(room.images, cameras, tmp_path / "colmap_0", replace(OPTIONS, accept_poor=True))
    assert len(report.tried) == 1


def test_images_and_cameras_that_do_not_fit(room, tmp_path):
    target = tmp_path / "colmap_0"
    with pytest.raises(SceneError, match=r"images of cam05, but no cameras"):
        triangulated(room.images, {k: v for k, v in room.cameras.items() if k != "cam05"}, target, OPTIONS)
    with pytest.raises(SceneError, match=r"1 images given \(cam00\)"):
        triangulated({"cam00": room.images["cam00"]}, room.cameras, target, OPTIONS)
    with pytest.raises(SceneError, match=r"gone.png: no such image"):
        triangulated({**room.images, "cam00": tmp_path / "gone.png"}, room.cameras, target, OPTIONS)


def test_without_pycolmap(room, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(SceneError, match=r"needs pycolmap \(.*\); pip install pycolmap") as failure:
        triangulated(room.images, room.cameras, tmp_path / "colmap_0", OPTIONS)
    assert "\n" not in str(failure.value)


def _images_of(path: Path) -> dict[str, tuple[tuple[float, ...], tuple[float, ...], int]]:
    """Quaternion wxyz, translation and number of 2D points by name, read as 3DGS's loader does."""
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    place, images = 8, {}
    for _ in range(count):
        _, *pose, _ = struct.unpack_from("<i7di", data, place)
        end = data.index(b"\0", place + 64)
        (points,) = struct.unpack_from("<Q", data, end + 1)
        images[data[place + 64 : end].decode()] = (tuple(pose[:4]), tuple(pose[4:]), points)
        place = end + 9 + 24 * points
    assert place == len(data)
    return images
