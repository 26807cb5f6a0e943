"""Against real footage, and against the cameras that Ex4DGS's own loader made of it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from scenes import Prefetcher, Scene, SceneOptions, load_scene


def load(folder: Path, cache: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=cache, progress=False, **options))


@pytest.mark.parametrize(("name", "size", "count"), [("basketball", (640, 360), 28), ("kitchen_tiny", (160, 120), 8)])
def test_cameras_equal_ex4dgs(shared, tmp_path, name, size, count):
    reference = np.load(shared(f"reference/experts/renders/{name}") / "ex4dgs.npz")
    scene = load(shared(f"data/{name}"), tmp_path, duration=1, needed="test", resolution=1)
    by_name = {view.name: view.camera for view in scene.views}
    assert len(by_name) == count and scene.test == (0,)
    compared = [key.removeprefix("cam_w2c_") for key in reference.files if key.startswith("cam_w2c_")]
    assert len(compared) >= 3
    for key in compared:
        camera = by_name[key]
        matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
        np.testing.assert_allclose(matrix, reference[f"cam_K_{key}"], rtol=1e-12)
        # Measured: 5e-7; the reference's path goes through float32 inverses.
        np.testing.assert_allclose(camera.world_to_camera.numpy(), reference[f"cam_w2c_{key}"], rtol=0, atol=1e-6)
        assert (camera.width, camera.height) == tuple(reference[f"cam_size_{key}"]) == size


def test_frames_of_a_real_scene(shared, tmp_path):
    scene = load(shared("data/basketball"), tmp_path, start=140, duration=10, resolution=4, needed="test")
    assert (scene.num_frames, scene.frames.read(0, 9).shape) == (10, (90, 160, 3))
    with Prefetcher(scene, [(0, 9), (0, 0)], memory_mb=1) as images:
        (_, _, last), (_, _, first) = images
    assert 0.2 < float(first.mean()) < 0.8
    assert 0 < float((last - first).abs().mean()) < 0.1  # people move, the dome does not


def test_all_frames_of_a_long_clip(shared, tmp_path):
    scene = load(shared("data/kitchen_tiny"), tmp_path, needed="test")
    assert scene.num_frames == 300
    assert np.load(tmp_path / "160x120_bilinear" / "cam00_0-299.npy", mmap_mode="r").shape == (300, 120, 160, 3)


def test_a_published_colmap_model(shared, tmp_path):
    model = shared("data/flame_steak_frame0")
    room = tmp_path / "flame_steak" / "colmap_0"
    room.mkdir(parents=True)
    (room / "images").symlink_to(model / "images")
    (room / "sparse").symlink_to(model / "sparse")
    scene = load(tmp_path / "flame_steak", tmp_path / "cache", resolution=4, needed="test")
    assert (len(scene.views), scene.num_frames, scene.test) == (21, 1, (0,))
    assert scene.frames.read(0, 0).shape == (252, 336, 3)
    poses = poses_of(model / "sparse" / "0" / "images.bin")
    for view in scene.views:
        np.testing.assert_allclose(view.camera.world_to_camera.numpy(), poses[view.name], rtol=0, atol=1e-6)
        assert view.camera.fx == pytest.approx(730.3216281718156 * 336 / 1345)
        assert view.camera.fy == pytest.approx(727.5171140563883 / 4)
        assert (view.camera.cx, view.camera.cy) == (168, 126)


def poses_of(path: Path) -> dict[str, np.ndarray]:
    """World to camera of every image of an images.bin, by the published byte layout."""
    data, poses = path.read_bytes(), {}
    (count,) = struct.unpack_from("<Q", data)
    place = 8
    for _ in range(count):
        _, w, x, y, z, *translation, _ = struct.unpack_from("<i7di", data, place)
        end = data.index(b"\0", place + 64)
        name = Path(data[place + 64 : end].decode()).stem
        (points,) = struct.unpack_from("<Q", data, end + 1)
        place = end + 9 + 24 * points
        vector, scalar = np.array([x, y, z]), w
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        pose = np.eye(4)
        pose[:3, :3] = (scalar**2 - vector @ vector) * np.eye(3) + 2 * np.outer(vector, vector) + 2 * scalar * cross
        pose[:3, 3] = translation
        poses[name] = pose
    return poses
