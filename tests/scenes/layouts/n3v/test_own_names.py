"""Cameras whose names are letters, as GoPro-A.MP4, and files with upper-case endings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scenes import Scene, SceneError, SceneOptions, load_scene
from scenes.layouts.n3v.videos import prepare_videos
from tests.scenes.preparation.stand_in import StandIn, videos_options
from tests.scenes.scene_folders import (
    Rig,
    colour,
    draw,
    rig_cameras,
    write_colmap_model,
    write_n3v_frames,
    write_n3v_scene,
    write_poses_bounds,
    write_technicolor_scene,
    write_video,
)

LETTERS = ("GoPro-A", "GoPro-B", "GoPro-C")
RIG = Rig(cameras=LETTERS, frames=2)


def load(folder: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=folder.parent / "cache", progress=False, **options))


def write_videos(folder: Path, rig: Rig = RIG, ending: str = ".MP4") -> None:
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(rig.cameras):
        frames = [draw(index, frame, rig.width, rig.height) for frame in range(rig.frames)]
        write_video(folder / f"{name}.mp4", frames)
        (folder / f"{name}.mp4").rename(folder / f"{name}{ending}")


def check_rig(scene: Scene, rig: Rig) -> None:
    """Each camera has its own calibration, frames and number."""
    cameras = rig_cameras(rig)
    assert [view.name for view in scene.views] == list(rig.cameras)
    for index, view in enumerate(scene.views):
        expected = cameras[view.name].world_to_camera.float()
        torch.testing.assert_close(view.camera.world_to_camera, expected, rtol=0, atol=1e-6)
        left = scene.frames.read(index, 0)[:, : rig.width // 2 - 4].reshape(-1, 3).mean(axis=0)
        assert np.abs(left - colour(index, 0)).max() <= 3.5  # H.264


@pytest.mark.parametrize("model", ["sparse/0", "colmap_0/sparse/0"])
@pytest.mark.parametrize("images", ["{name}.png", "{name}.PNG", "{name}/000000.png", "images/{name}.jpg"])
def test_a_colmap_model_tells_the_names(tmp_path, model, images):
    write_videos(tmp_path / "rig")
    cameras = rig_cameras(RIG)
    write_colmap_model(
        tmp_path / "rig" / model, {images.format(name=name): cameras[name] for name in LETTERS}, suffix=""
    )
    scene = load(tmp_path / "rig")
    check_rig(scene, RIG)
    assert [view.number for view in scene.views] == [0, 1, 2]
    assert scene.test == (0,)
    assert "frames from <camera>.mp4" in scene.notes
    assert "no camera cam00, so the first one, GoPro-A, is held out" in scene.notes
    assert load(tmp_path / "rig", test_cameras=("GoPro-B",)).test == (1,)


def test_folders_of_images_have_names_of_their_own_too(tmp_path):
    write_n3v_frames(tmp_path / "rig", RIG, "{name}/{frame}.PNG")
    write_colmap_model(tmp_path / "rig" / "sparse" / "0", rig_cameras(RIG))
    check_rig(load(tmp_path / "rig"), RIG)


def test_names_without_a_number_each_are_counted_in_natural_order(tmp_path):
    names = ("left2", "left10", "right2")
    rig = Rig(cameras=names, frames=1)
    write_videos(tmp_path / "rig", rig)
    write_colmap_model(tmp_path / "rig" / "sparse" / "0", rig_cameras(rig))
    scene = load(tmp_path / "rig")
    check_rig(scene, rig)
    assert [view.number for view in scene.views] == [0, 1, 2]


def test_names_with_a_number_each_keep_it(tmp_path):
    rig = Rig(cameras=("GoPro-3A", "GoPro-12B"), frames=1)
    write_videos(tmp_path / "rig", rig)
    write_colmap_model(tmp_path / "rig" / "sparse" / "0", rig_cameras(rig))
    assert [view.number for view in load(tmp_path / "rig").views] == [3, 12]


def test_one_number_of_two_cameras_is_a_mistake(tmp_path):
    rig = Rig(cameras=("cam1", "cam01"), frames=1)
    cameras = write_n3v_scene(tmp_path / "rig", rig)
    write_colmap_model(tmp_path / "rig" / "colmap_0" / "sparse" / "0", cameras)
    with pytest.raises(SceneError, match="has the number of cam"):
        load(tmp_path / "rig")


def test_rows_of_poses_bounds_do_not_tell_the_names(tmp_path):
    root = tmp_path / "rig"
    write_videos(root)
    write_poses_bounds(root / "poses_bounds.npy", list(rig_cameras(RIG).values()))
    with pytest.raises(SceneError) as failure:
        load(root)
    message = str(failure.value)
    assert "there are 3 videos (GoPro-A.MP4, GoPro-B.MP4, GoPro-C.MP4), which are not named camXX: " in message
    assert "rename them cam00.MP4, … in the order of the rows of poses_bounds.npy, or move that file away" in message
    assert message.endswith(f"run: python moegs.py prepare videos {root}")


def test_prepare_videos_takes_them_in_natural_order_and_keeps_their_names(tmp_path):
    root = tmp_path / "rig"
    rig = Rig(cameras=("GoPro-B10", "GoPro-A", "gopro-b9"), frames=2, width=96, height=72)
    write_videos(root, rig)
    report = prepare_videos(root, videos_options(accept_moving=True), sfm=StandIn(rig=_numbered(rig)).sfm())
    table = {"cam00": "GoPro-A.MP4", "cam01": "gopro-b9.MP4", "cam02": "GoPro-B10.MP4"}
    assert json.loads((root / "camera_names.json").read_text()) == table
    assert list(report.images) == list(table)
    scene = load(root)
    for index, (name, number) in enumerate({"cam00": 1, "cam01": 2, "cam02": 0}.items()):
        assert scene.views[index].name == name
        left = scene.frames.read(index, 0)[:, :40].reshape(-1, 3).mean(axis=0)
        assert np.abs(left - colour(number, 0)).max() <= 3.5


def _numbered(rig: Rig):
    return dict(zip(("cam00", "cam01", "cam02"), rig_cameras(rig).values(), strict=True))


@pytest.mark.parametrize("pattern", ["{name}/{frame}.PNG", "{name}/frame_{frame}.JPG", "images/{name}/{frame}.JPEG"])
def test_upper_case_endings_of_images(tmp_path, pattern):
    rig = Rig(frames=2)
    write_n3v_scene(tmp_path / "rig", rig, pattern=pattern)
    assert load(tmp_path / "rig").num_frames == 2


def test_upper_case_endings_of_videos_and_technicolor_images(tmp_path):
    cameras = write_n3v_scene(tmp_path / "rig", Rig(frames=2))
    for name in cameras:
        (tmp_path / "rig" / f"{name}.mp4").rename(tmp_path / "rig" / f"{name}.MOV")
    assert load(tmp_path / "rig").num_frames == 2
    write_technicolor_scene(tmp_path / "birthday")
    for path in (tmp_path / "birthday").glob("*.png"):
        path.rename(path.with_suffix(".PNG"))
    assert len(load(tmp_path / "birthday", layout="technicolor").views) == 12
    with Image.open(next((tmp_path / "birthday").glob("*.PNG"))) as image:
        assert image.format == "PNG"
