from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scenes import Scene, SceneError, SceneOptions, load_scene
from tests.scenes.scene_folders import Rig, colour, rig_cameras, write_colmap_model, write_technicolor_scene


def load(folder: Path, **options) -> Scene:
    return load_scene(
        folder, SceneOptions(cache=folder.parent / "cache", layout="technicolor", progress=False, **options)
    )


def test_cameras_frames_and_split(tmp_path):
    cameras = write_technicolor_scene(tmp_path / "birthday")
    scene = load(tmp_path / "birthday")
    assert (scene.layout, scene.start, scene.num_frames) == ("technicolor", 1, 3)
    assert [view.name for view in scene.views] == list(cameras)
    assert [scene.views[index].name for index in scene.test] == ["cam10"]
    assert len(scene.train) == 11
    for index, view in enumerate(scene.views):
        expected = cameras[view.name]
        torch.testing.assert_close(view.camera.world_to_camera, expected.world_to_camera.float(), rtol=0, atol=1e-7)
        assert replace(view.camera, world_to_camera=None) == replace(expected, world_to_camera=None)
        assert view.camera.cx == pytest.approx(32 + 0.4 * (index + 1))
        assert tuple(scene.frames.read(index, 2)[0, 0]) == colour(index, 3)


def test_principal_points_scale_with_the_images(tmp_path):
    cameras = write_technicolor_scene(tmp_path / "birthday")
    camera = load(tmp_path / "birthday", resolution=2).views[4].camera
    assert (camera.cx, camera.cy) == pytest.approx((cameras["cam04"].cx / 2, cameras["cam04"].cy / 2))


def test_frame_range_by_file_numbers(tmp_path):
    write_technicolor_scene(tmp_path / "birthday", Rig(start=151, frames=6))
    scene = load(tmp_path / "birthday", start=152, end=155)
    assert (scene.start, scene.num_frames) == (152, 3)
    assert tuple(scene.frames.read(1, 2)[0, 0]) == colour(1, 154)
    with pytest.raises(SceneError, match="cam00: 5 frames found from frame 152 on, 8 asked for"):
        load(tmp_path / "birthday", start=152, end=160)


def test_rig_radius_is_the_world_scale_of_ex4dgs(tmp_path):
    cameras = write_technicolor_scene(tmp_path / "birthday")
    centres = np.stack([camera.centre.numpy() for name, camera in cameras.items() if name != "cam10"])
    expected = 1.1 * np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()
    assert load(tmp_path / "birthday").rig_radius == pytest.approx(expected, rel=1e-6)


def test_keeps_the_principal_point_that_ex4dgs_loses(tmp_path):
    write_technicolor_scene(tmp_path / "birthday", Rig(start=1, off_centre=(2.0, 0.0)))
    scene = load(tmp_path / "birthday")
    assert scene.views[1].camera.cx == 36
    assert any("drops where the vertical one is centred: cam00, cam01, cam02" in note for note in scene.notes)


def test_rows_that_cannot_be_read(tmp_path):
    write_technicolor_scene(tmp_path / "birthday", Rig())
    table = tmp_path / "birthday" / "cameras_parameters.txt"
    lines = table.read_text().splitlines()
    for row, message in (
        ("60 32 twenty", r"row 2 \(cam01\): could not convert string to float: 'twenty'; expected 12 numbers"),
        ("60 32 24 1 0 1 0 0 0", r"row 2 \(cam01\): 9 numbers, expected 12"),
        ("60 32 24 1 0 0 0 0 0 1 2 3", r"row 2 \(cam01\): focal length 60, quaternion .* are no camera"),
        ("60 32 24 1 0 1 0 0 0 1 2 nan", r"row 2 \(cam01\): focal length 60"),
        ("3000 1024 544 1 0 1 0 0 0 1 2 3", r"\(1024, 544\) is far from the middle of images of 64x48 px"),
    ):
        table.write_text("\n".join([*lines[:2], row, *lines[3:]]) + "\n")
        with pytest.raises(SceneError, match=message):
            load(tmp_path / "birthday")
    table.write_text("\n".join(lines[:3]) + "\n")
    with pytest.raises(SceneError, match="no calibration of cam02, only of cam00, cam01"):
        load(tmp_path / "birthday")


def test_a_colmap_model_only_where_the_table_is_missing(tmp_path):
    folder = tmp_path / "birthday"
    rig = Rig(off_centre=(1.0, 0.5))
    write_technicolor_scene(folder, rig)
    cameras = {name: replace(camera, fx=70.0, fy=70.0) for name, camera in rig_cameras(rig).items()}
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", cameras)
    assert load(folder).views[0].camera.fx == 60
    (folder / "cameras_parameters.txt").unlink()
    camera = load(folder).views[2].camera
    assert (camera.fx, camera.cx, camera.cy) == (70, 35, 25.5)
    with pytest.raises(SceneError, match=r"cameras_parameters.txt not found, nor a COLMAP model in colmap_1"):
        load(folder, start=1)


def test_wrong_folders(tmp_path):
    write_technicolor_scene(tmp_path / "birthday")
    with pytest.raises(SceneError, match="looks like the technicolor layout, not n3v; load it as technicolor"):
        load_scene(tmp_path / "birthday", SceneOptions(cache=tmp_path / "cache", layout="n3v"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneError, match=r"no frames found; looked for <Scene>_undist_<frame>_<camera>.png"):
        load(tmp_path / "empty")


def test_cameras_with_fewer_images(tmp_path):
    write_technicolor_scene(tmp_path / "birthday", Rig(frames=5))
    (tmp_path / "birthday" / "Birthday_undist_00002_01.png").unlink()
    with pytest.raises(SceneError, match="cam01: frame 2 is missing, its frames are 0 to 4"):
        load(tmp_path / "birthday")
    with pytest.raises(SceneError, match="cam01: 2 frames found from frame 0 on, 5 asked for"):
        load(tmp_path / "birthday", end=5)


@pytest.mark.parametrize("place", ["colmap_151/sparse/0", "sparse/0"])
@pytest.mark.parametrize("image", ["{camera}.png", "Own_undist_00151_{number:02d}.png", "{camera}/000151.png"])
def test_an_own_rig_has_the_cameras_of_its_first_frame(tmp_path, place, image):
    folder, rig = tmp_path / "own", Rig(start=151, frames=2, off_centre=(1.0, 0.5))
    cameras = write_technicolor_scene(folder, rig)
    (folder / "cameras_parameters.txt").unlink()
    names = [image.format(camera=name, number=number) for number, name in enumerate(cameras)]
    write_colmap_model(folder / place, dict(zip(names, cameras.values(), strict=True)), suffix="")
    scene = load(folder)
    assert f"cameras from {place}" in scene.notes
    for view in scene.views:
        expected = cameras[view.name]
        torch.testing.assert_close(view.camera.world_to_camera, expected.world_to_camera.float(), rtol=0, atol=1e-6)
        assert (view.camera.cx, view.camera.cy) == (expected.cx, expected.cy)


def test_models_of_other_frames_are_named(tmp_path):
    folder = tmp_path / "own"
    cameras = write_technicolor_scene(folder, Rig(start=151, frames=2))
    (folder / "cameras_parameters.txt").unlink()
    write_colmap_model(folder / "colmap_152" / "sparse" / "0", cameras)
    with pytest.raises(
        SceneError, match=r"in colmap_151/sparse/0 or sparse/0; there is colmap_152: set start to match"
    ):
        load(folder)


def test_resource_forks_are_no_frames(tmp_path):
    folder = tmp_path / "birthday"
    write_technicolor_scene(folder, Rig())
    (folder / "._Birthday_undist_00000_00.png").write_bytes(b"of the system")
    assert load(folder).num_frames == 4
