from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scenes import Scene, SceneError, SceneOptions, load_scene
from tests.scenes.scene_folders import Rig, write_colmap_model, write_n3v_scene


def load(folder: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=folder.parent / "cache", progress=False, **options))


@pytest.mark.parametrize("model", ["PINHOLE", "SIMPLE_PINHOLE"])
def test_cameras_of_a_colmap_model(tmp_path, model):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder, Rig(off_centre=(1.0, 0.5)))
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", cameras, model=model)
    scene = load(folder, resolution=2)
    for view in scene.views:
        torch.testing.assert_close(
            view.camera.world_to_camera, cameras[view.name].world_to_camera.float(), rtol=0, atol=1e-6
        )
        assert (view.camera.fx, view.camera.cx, view.camera.cy) == (30, 16, 12)
    assert "cameras from colmap_0/sparse/0" in scene.notes
    assert "principal points moved to the image centre: cam00, cam01, cam02" in scene.notes
    assert not any("differ" in note for note in scene.notes)


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
    with pytest.raises(SceneError, match=r"colmap_0/sparse/0 found; there is colmap_2"):
        load(folder)
    assert load(folder, start=2).num_frames == 2
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", cameras, model="SIMPLE_RADIAL")
    with pytest.raises(SceneError, match=r"cam00.png has a SIMPLE_RADIAL camera, only PINHOLE and SIMPLE_PINHOLE"):
        load(folder)
    (folder / "colmap_2" / "sparse" / "0" / "cameras.txt").write_text("1 PINHOLE abc\n")
    with pytest.raises(SceneError, match="not a readable COLMAP model"):
        load(folder, start=2)


def test_cameras_missing_on_one_side_of_a_colmap_model(tmp_path):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder)
    other = {"cam00": cameras["cam00"], "cam02": cameras["cam02"], "cam09": cameras["cam01"]}
    write_colmap_model(folder / "colmap_0" / "sparse" / "0", other)
    scene = load(folder)
    assert [view.name for view in scene.views] == ["cam00", "cam02"]
    assert "cam01 is not in the COLMAP model: not used" in scene.notes
    assert "cam09 is in the COLMAP model but has no frames: not used" in scene.notes
