from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from moegs_rasterizer import Camera
from PIL import Image

from scenes import SceneError
from scenes.calibration.cameras import scaled
from scenes.calibration.colmap_model import read_colmap_cameras
from scenes.calibration.poses_bounds import read_poses_bounds
from scenes.preparation.sfm.mapping import mapped, poses_bounds_from
from scenes.preparation.sfm.triangulation import triangulated
from tests.scenes.preparation.sfm.remembered_matches import RememberedMatches
from tests.scenes.preparation.textured_room import OPTIONS, Made, room_cameras, write_room

FEW = replace(OPTIONS, max_features=250)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Made:
    """Six cameras found from their images alone."""
    folder = tmp_path_factory.mktemp("room")
    cameras = room_cameras()
    images = write_room(folder / "images", cameras)
    target = folder / "colmap_0"
    return Made(cameras, images, target, mapped(images, target, replace(OPTIONS, threads=1)))


def worst_centre(found: Mapping[str, Camera], true: Mapping[str, Camera]) -> float:
    """Largest distance of a camera's centre from the true one after similarity alignment, over the rig's width."""
    import pycolmap

    ours, theirs = (np.array([cameras[name].centre.numpy() for name in sorted(true)]) for cameras in (found, true))
    similarity = pycolmap.estimate_sim3d(ours, theirs).matrix()
    apart = np.linalg.norm(ours @ similarity[:, :3].T + similarity[:, 3] - theirs, axis=1)
    return float(apart.max() / np.linalg.norm(theirs[:, None] - theirs, axis=2).max())


def test_the_rig_is_found(room):
    found = read_colmap_cameras(room.target / "sparse" / "0")
    assert (room.report.cameras, room.report.registered) == (6, 6)
    assert room.report.points > 300
    assert worst_centre(found, room.cameras) < 0.005  # seen: 0.0004
    for camera in found.values():
        assert (camera.width, camera.height, camera.cx, camera.cy) == (240, 180, 120, 90)
        assert camera.fx == camera.fy == pytest.approx(195, rel=0.01)  # seen: 0.0006
    assert "shared cameras: 6/6 cameras, " in room.report.tried[0]
    assert "100% of the matches confirm the cameras" in room.report.tried[0]
    assert sorted(path.name for path in (room.target / "images").iterdir()) == [f"cam{i:02d}.png" for i in range(6)]


def test_the_same_bits_again(room, tmp_path):
    assert mapped(room.images, tmp_path / "colmap_0", replace(OPTIONS, threads=3)) == room.report
    for name in ("points3D.bin", "images.bin", "cameras.bin"):
        first, second = (target / "sparse" / "0" / name for target in (room.target, tmp_path / "colmap_0"))
        assert first.read_bytes() == second.read_bytes(), name


def test_found_cameras_as_poses_bounds(room, tmp_path):
    poses_bounds_from(room.target / "sparse" / "0", tmp_path / "poses_bounds.npy")
    names = sorted(room.cameras)
    model, read = (
        read_colmap_cameras(room.target / "sparse" / "0"),
        read_poses_bounds(tmp_path / "poses_bounds.npy", names),
    )
    for name in names:
        np.testing.assert_allclose(read[name].world_to_camera, model[name].world_to_camera, atol=1e-12)
        assert replace(read[name], world_to_camera=model[name].world_to_camera) == model[name]
    near, far = np.load(tmp_path / "poses_bounds.npy")[:, 15:].T
    unit = _unit(model, room.cameras)
    assert np.all((near * unit > 1.5) & (near * unit < far * unit) & (far * unit < 5.5))  # the corner is about 4 away


def test_a_lens_that_bends_names_the_filter_that_straightens(tmp_path):
    cameras = {name: scaled(camera, 320, 240) for name, camera in room_cameras().items()}
    images = write_room(tmp_path / "images", cameras, distortion=-0.15)
    with pytest.raises(SceneError, match=r"move pixels by up to 1\d\.\d px") as failure:
        mapped(images, tmp_path / "colmap_0", OPTIONS)
    assert not (tmp_path / "colmap_0").exists()
    (k1,) = re.findall(r"lenscorrection=k1=(\S+):k2=0", str(failure.value))
    bent, true = images["cam03"], write_room(tmp_path / "true", {"cam03": cameras["cam03"]})["cam03"]
    # Seen: 26 of 255 before, 15 after, of which most is the filter's shift by half a pixel; 20 with half of k1.
    before, half, after = (_unlike(_filtered(bent, float(k1) * part), true) for part in (0, 0.5, 1))
    assert after < 0.65 * before
    assert after < 0.85 * half


def test_a_camera_that_sees_something_else_is_named(room, tmp_path, tmp_path_factory, monkeypatch):
    RememberedMatches(tmp_path_factory.mktemp("matches")).used_by(monkeypatch)
    Image.fromarray(np.full((180, 240, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    three = {name: path for name, path in room.images.items() if name < "cam03"}
    images = {**three, "cam06": tmp_path / "wall.png"}
    with pytest.raises(SceneError, match=r"too poor: not found: cam06\. Tried: .*leave out videos") as failure:
        mapped(images, tmp_path / "colmap_0", FEW)
    assert str(failure.value).count("shared cameras: 3/4 cameras") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["wall.png"]
    report = mapped(images, tmp_path / "colmap_0", replace(FEW, accept_poor=True))
    assert (report.cameras, report.registered) == (4, 3)
    assert sorted(read_colmap_cameras(tmp_path / "colmap_0" / "sparse" / "0")) == sorted(three)
    assert not (tmp_path / "colmap_0" / "images" / "cam06.png").exists()


def test_two_images_are_too_few(room, tmp_path):
    two = {name: room.images[name] for name in ("cam00", "cam01")}
    with pytest.raises(SceneError, match=r"2 images; structure from motion needs 3 cameras"):
        mapped(two, tmp_path / "colmap_0", OPTIONS)


def test_cameras_that_poses_bounds_cannot_hold(tmp_path):
    cameras = room_cameras(3, off_centre=(3.0, -2.0))
    images = write_room(tmp_path / "images", cameras)
    triangulated(images, cameras, tmp_path / "colmap_0", replace(OPTIONS, accept_poor=True))
    with pytest.raises(SceneError, match=r"cam00 has focal lengths 195 and 195 .* 3 px off the middle"):
        poses_bounds_from(tmp_path / "colmap_0" / "sparse" / "0", tmp_path / "poses_bounds.npy")
    with pytest.raises(SceneError, match="none"):
        poses_bounds_from(tmp_path / "none", tmp_path / "poses_bounds.npy")
    assert not (tmp_path / "poses_bounds.npy").exists()


def _unit(found: Mapping[str, Camera], true: Mapping[str, Camera]) -> float:
    """World units of the room in one of the found world."""
    ends = ("cam00", "cam05")
    ours, theirs = (np.subtract(*(cameras[name].centre.numpy() for name in ends)) for cameras in (found, true))
    return float(np.linalg.norm(theirs) / np.linalg.norm(ours))


def _unlike(image: np.ndarray, true: Path) -> float:
    """Mean absolute difference away from the borders, of 255."""
    inside = (slice(30, -30), slice(40, -40))
    return float(np.abs(image - np.asarray(Image.open(true)).astype(float))[inside].mean())


def _filtered(path: Path, k1: float) -> np.ndarray:
    """An image through FFmpeg's lenscorrection."""
    import av

    frame = av.VideoFrame.from_ndarray(np.asarray(Image.open(path)), format="rgb24").reformat(format="yuv444p")
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format="yuv444p", time_base="1/30")
    correction, sink = graph.add("lenscorrection", f"k1={k1}:k2=0:i=bilinear"), graph.add("buffersink")
    source.link_to(correction)
    correction.link_to(sink)
    graph.configure()
    source.push(frame)
    return sink.pull().to_ndarray(format="rgb24").astype(float)
