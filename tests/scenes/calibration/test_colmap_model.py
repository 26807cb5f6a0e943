from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pycolmap
import pytest
import torch

from scenes import Scene, SceneError, SceneOptions, load_scene
from scenes.calibration.cameras import checked
from scenes.calibration.colmap_model import camera_name, read_colmap_cameras
from tests.scenes.scene_folders import Rig, rig_cameras, write_colmap_model, write_n3v_scene


def load(folder: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=folder.parent / "cache", progress=False, **options))


@pytest.mark.parametrize("model", ["PINHOLE", "SIMPLE_PINHOLE"])
def test_cameras_of_a_colmap_model(tmp_path, model):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder, Rig(off_centre=(1.0, 0.5)))
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", cameras, model=model)
    scene = load(folder, resolution=2)
    for index, view in enumerate(scene.views, start=1):
        torch.testing.assert_close(
            view.camera.world_to_camera, cameras[view.name].world_to_camera.float(), rtol=0, atol=1e-6
        )
        assert (view.camera.fx, view.camera.cx, view.camera.cy) == (30, 16 + 0.5 * index, 12 + 0.25 * index)
    assert "cameras from colmap_0/sparse/0" in scene.notes
    (note,) = [note for note in scene.notes if "principal points" in note]
    assert note.startswith("principal points up to 3.0 px off the image centre are kept (cam00 and 2 more); ")
    assert note.endswith("use --principal_points centred")
    assert not any("differ" in note for note in scene.notes)


def test_principal_points_at_the_centre_where_asked_for(tmp_path):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder, Rig(off_centre=(1.0, 0.5)))
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", cameras)
    scene = load(folder, resolution=2, principal_points="centred")
    assert all((view.camera.fx, view.camera.cx, view.camera.cy) == (30, 16, 12) for view in scene.views)
    assert "principal points moved to the image centre: cam00, cam01, cam02" in scene.notes


def test_a_colmap_model_that_disagrees_is_reported(tmp_path, caplog):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder)
    moved = replace(cameras["cam01"], fx=60.3, fy=60.3)
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", {**cameras, "cam01": moved})
    with caplog.at_level(logging.WARNING):
        scene = load(folder)
    assert any("differ, most at cam01: 0.005 relative" in note for note in scene.notes)
    assert "differ, most at cam01" in caplog.text
    assert scene.views[1].camera.fx == 60.3


def test_colmap_models_that_do_not_fit(tmp_path):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder)
    (folder / "poses_bounds.npy").unlink()
    write_colmap_model(folder / "colmap_2" / "sparse" / "0", cameras)
    with pytest.raises(SceneError, match=r"colmap_0/sparse/0 or sparse/0 found; there is colmap_2"):
        load(folder)
    assert load(folder, start=2).num_frames == 2
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", cameras, model="SIMPLE_RADIAL")
    with pytest.raises(SceneError, match=r"cam00.png has a SIMPLE_RADIAL camera with distortion, only cameras without"):
        load(folder)
    (folder / "colmap_2" / "sparse" / "0" / "cameras.txt").write_text("1 PINHOLE abc\n")
    with pytest.raises(SceneError, match="not a readable COLMAP model"):
        load(folder, start=2)


def test_cameras_missing_on_one_side_of_a_colmap_model(tmp_path, caplog):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder)
    other = {"cam00": cameras["cam00"], "cam02": cameras["cam02"], "cam09": cameras["cam01"]}
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", other)
    with caplog.at_level(logging.WARNING):
        scene = load(folder)
    assert [view.name for view in scene.views] == ["cam00", "cam02"]
    lost = "1 of 3 cameras with frames are not in the COLMAP model and not used: cam01"
    assert lost in scene.notes
    assert lost in caplog.text
    assert "cam09 is in the COLMAP model but has no frames: not used" in scene.notes


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "OPENCV"])
def test_cameras_whose_distortion_is_zero_are_pinholes(tmp_path, model):
    cameras = rig_cameras(Rig(off_centre=(1.0, 0.5)))
    write_colmap_model(tmp_path / "straight", cameras, model=model, distortion=0.0)
    read = read_colmap_cameras(tmp_path / "straight")
    assert list(read) == list(cameras)
    for name, camera in cameras.items():
        torch.testing.assert_close(read[name].world_to_camera, camera.world_to_camera, rtol=0, atol=1e-9)
        assert replace(read[name], world_to_camera=None) == replace(camera, world_to_camera=None)
    write_colmap_model(tmp_path / "bent", cameras, model=model, distortion=1e-6)
    with pytest.raises(SceneError, match=rf"cam00.png has a {model} camera with distortion"):
        read_colmap_cameras(tmp_path / "bent")


def test_a_fisheye_without_coefficients_is_no_pinhole(tmp_path):
    write_colmap_model(tmp_path / "fish", rig_cameras(Rig()), model="OPENCV_FISHEYE", distortion=0.0)
    with pytest.raises(SceneError, match=r"cam00.png has a OPENCV_FISHEYE camera"):
        read_colmap_cameras(tmp_path / "fish")


@pytest.mark.parametrize(
    ("image", "camera"),
    [
        ("cam00.png", "cam00"),
        ("images/cam00.png", "cam00"),
        ("cam00/000000.png", "cam00"),
        ("cam00/images/0000.png", "cam00"),
        ("cam00/frame_00001.jpg", "cam00"),
        ("rig/cam07/12.jpg", "cam07"),
        ("000003.png", "000003"),
        ("images/000003.png", "000003"),
    ],
)
def test_the_camera_of_an_image(image, camera):
    assert camera_name(image) == camera


def test_images_in_folders_are_of_their_folders_cameras(tmp_path):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder)
    (folder / "poses_bounds.npy").unlink()
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", cameras, suffix="/000000.png")
    scene = load(folder)
    assert [view.name for view in scene.views] == list(cameras)
    for view in scene.views:
        torch.testing.assert_close(
            view.camera.world_to_camera, cameras[view.name].world_to_camera.float(), rtol=0, atol=1e-6
        )


def test_two_images_of_one_camera_are_refused(tmp_path):
    first, *_ = rig_cameras(Rig()).values()
    write_colmap_model(tmp_path / "model", {"cam00/000000": first, "cam00/000001": first})
    with pytest.raises(SceneError, match=r"2 images are of cam00 \(cam00/000000.png, cam00/000001.png, …\)"):
        read_colmap_cameras(tmp_path / "model")


@pytest.mark.parametrize("stem", ["cameras", "images", "rigs", "frames"])
def test_binaries_whose_counts_are_larger_than_the_file_are_refused_before_they_are_read(tmp_path, stem):
    folder = tmp_path / "room"
    model = folder / "colmap_0" / "sparse" / "0"
    write_colmap_model(model, write_n3v_scene(folder))
    pycolmap.Reconstruction(model).write_binary(model)
    file = model / f"{stem}.bin"
    assert len(read_colmap_cameras(model)) == 3
    whole = file.read_bytes()
    ones = (1).to_bytes(8, "little")
    for content in (ones, bytes(3), (1 << 60).to_bytes(8, "little"), (4).to_bytes(8, "little") + whole[8:]):
        file.write_bytes(content)
        with pytest.raises(SceneError, match=rf"{stem}.bin: \d+ bytes do not hold what its counts claim; damaged"):
            read_colmap_cameras(model)


FAULTS = {
    "nan": lambda camera: replace(camera, world_to_camera=camera.world_to_camera * float("nan")),
    "far": lambda camera: replace(camera, world_to_camera=moved_by(camera, 1e30)),
    "no rotation": lambda camera: replace(camera, world_to_camera=torch.zeros(4, 4)),
    "focal length 0": lambda camera: replace(camera, fx=0.0),
    "focal length nan": lambda camera: replace(camera, fy=float("nan")),
    "principal point": lambda camera: replace(camera, cx=1e30),
    "size": lambda camera: replace(camera, width=70_000),
}


def moved_by(camera, distance: float) -> torch.Tensor:
    pose = camera.world_to_camera.clone()
    pose[0, 3] = distance
    return pose


@pytest.mark.parametrize("fault", FAULTS)
def test_numbers_that_are_no_camera_are_refused(fault):
    camera = rig_cameras(Rig())["cam01"]
    assert checked(camera, "here: cam01") is camera
    with pytest.raises(SceneError, match="here: cam01: is no camera: its "):
        checked(FAULTS[fault](camera), "here: cam01")


@pytest.mark.parametrize("fault", ["far", "focal length 0", "principal point"])
def test_a_model_with_such_a_camera_is_refused_by_file_and_camera(tmp_path, fault):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder)
    model = folder / "colmap_0" / "sparse" / "0"
    write_colmap_model(model, {**cameras, "cam01": FAULTS[fault](cameras["cam01"])})
    with pytest.raises(SceneError, match=f"{model}: cam01: is no camera"):
        load(folder)


def test_a_name_that_is_no_text_is_one_line(tmp_path):
    write_colmap_model(tmp_path / "model", rig_cameras(Rig()))
    images = tmp_path / "model" / "images.txt"
    images.write_bytes(images.read_bytes().replace(b"cam01", b"cam\xff1"))
    with pytest.raises(SceneError, match=r"not a readable COLMAP model .*; run COLMAP again") as caught:
        read_colmap_cameras(tmp_path / "model")
    assert "\n" not in str(caught.value)
