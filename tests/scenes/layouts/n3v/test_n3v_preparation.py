from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scenes import SceneError, SceneOptions, load_scene
from scenes.layouts.n3v.preparation import prepare_n3v
from scenes.preparation.report import PrepareReport
from tests.scenes.preparation.stand_in import (
    Killed,
    Settings,
    StandIn,
    contents,
    killed_at,
    one_of_every_kind,
    options,
    outcomes,
)
from tests.scenes.scene_folders import Rig, rig_cameras, write_n3v_frames, write_n3v_scene

RIG = Rig(frames=4)
EVERYTHING: dict[str, Any] = {
    "every": 2,
    "frames": "all",
    "trainer_folders": ("ed3dgs", "4dgaussians"),
    "upstream_moegs": True,
}


def scene(root: Path) -> Path:
    write_n3v_scene(root, RIG)
    return root


def prepare(root: Path, stand_in: StandIn | None = None, **changed: Any) -> PrepareReport:
    return prepare_n3v(root, options(**changed), sfm=(stand_in or StandIn()).sfm())


def test_it_leaves_what_the_experts_start_from(tmp_path: Path) -> None:
    stand_in = StandIn()
    report = prepare(scene(tmp_path), stand_in)
    assert {"cam00/000000.png", "colmap_0/images/cam02.png", "points3D.ply", "points3D_downsample2.ply"} <= set(
        contents(tmp_path)
    )
    assert not (tmp_path / "cam00" / "000001.png").exists()
    assert stand_in.calls[0] == "triangulated colmap_0"
    assert (report.kind, report.start, report.frames, list(report.cameras)) == ("n3v", 0, 4, list(RIG.cameras))
    assert [(cloud.frame, cloud.points, cloud.median_error) for cloud in report.clouds] == [(0, 12, 0.5)]
    assert report.clouds[0].tried == ("once: 12",)
    assert report.cloud_sizes["points3D.ply"] == 3
    assert report.images["cam01"].is_file()
    loaded = load_scene(tmp_path, SceneOptions(cache=tmp_path / "cache", progress=False))
    assert loaded.num_frames == 4
    assert "cameras from colmap_0/sparse/0" in loaded.notes


def test_cameras_are_those_of_poses_bounds_at_the_size_of_the_images(tmp_path: Path) -> None:
    report = prepare(scene(tmp_path), resolution=2)
    expected = rig_cameras(RIG)
    for name, camera in report.cameras.items():
        assert (camera.width, camera.height, camera.fx) == (32, 24, 30.0)
        torch.testing.assert_close(camera.world_to_camera, expected[name].world_to_camera)
    assert Image.open(report.images["cam00"]).size == (32, 24)


def test_a_second_run_skips_everything_and_a_changed_option_what_depends_on_it(tmp_path: Path) -> None:
    stand_in = StandIn()
    first = prepare(scene(tmp_path), stand_in)
    before, calls = contents(tmp_path), len(stand_in.calls)
    second = prepare(tmp_path, stand_in)
    assert set(outcomes(second).values()) == {"skipped"}
    assert (len(stand_in.calls), contents(tmp_path)) == (calls, before)
    assert (second.clouds, second.cloud_sizes) == (first.clouds, first.cloud_sizes)
    third = outcomes(prepare(tmp_path, stand_in, every=3))
    assert {name for name, outcome in third.items() if outcome == "done"} == {
        *("frames_cam00", "frames_cam01", "frames_cam02", "colmap_3"),
    }


def test_settings_that_change_a_model_make_it_again_others_do_not(tmp_path: Path) -> None:
    stand_in = StandIn()
    prepare(scene(tmp_path), stand_in)
    prepare(tmp_path, stand_in, sfm=Settings(threads=9, progress=False, accept_poor=True))
    assert stand_in.calls.count("triangulated colmap_0") == 1
    prepare(tmp_path, stand_in, sfm=Settings(quality=2, accept_poor=True))
    assert stand_in.calls.count("triangulated colmap_0") == 2
    prepare(tmp_path, stand_in, sfm=Settings(quality=2))  # what was allowed to be poor is judged anew
    assert stand_in.calls.count("triangulated colmap_0") == 3


def test_more_or_fewer_frames_cost_no_new_model_of_the_same_frame(tmp_path: Path) -> None:
    prepare(scene(tmp_path))
    more = outcomes(prepare(tmp_path, frames="all"))
    assert {name for name, outcome in more.items() if outcome == "done"} == {f"frames_cam0{i}" for i in range(3)}
    again = outcomes(prepare(tmp_path, every=2))
    assert {name for name, outcome in again.items() if outcome == "done"} == {"colmap_2"}


def test_a_later_frame_without_points_has_no_model_where_a_poor_result_may_be_kept(tmp_path: Path) -> None:
    prepare(scene(tmp_path), every=2)
    poor, empty = Settings(quality=2, accept_poor=True), StandIn(empty=["colmap_2"])
    report = prepare(tmp_path, empty, every=1, sfm=poor)
    assert [cloud.frame for cloud in report.clouds] == [0, 1, 3]
    assert "no points were found at frame 2: there is no colmap_2" in report.notes
    assert not (tmp_path / "colmap_2").exists(), "a model of earlier settings is not left among the others"
    assert (tmp_path / "points3D.ply").is_file()
    with pytest.raises(SceneError, match=rf"^{tmp_path}/colmap_2: too poor: 0 points$"):
        prepare(tmp_path, empty, every=1, sfm=Settings(quality=2))
    with pytest.raises(SceneError, match=rf"^{tmp_path}/colmap_0: too poor: 0 points$"):
        prepare(tmp_path, StandIn(empty=["colmap_0"]), sfm=Settings(quality=3, accept_poor=True))


def test_a_damaged_model_is_made_again(tmp_path: Path) -> None:
    prepare(scene(tmp_path))
    whole = contents(tmp_path)
    (tmp_path / "colmap_0" / "sparse" / "0" / "points3D.bin").write_bytes(b"\0" * 8)
    (tmp_path / "points3D.ply").unlink()
    again = outcomes(prepare(tmp_path))
    assert {name for name, outcome in again.items() if outcome == "done"} == {"colmap_0", "clouds"}
    assert contents(tmp_path) == whole


def test_one_set_of_images_serves_all_layouts(tmp_path: Path) -> None:
    report = prepare(scene(tmp_path), **EVERYTHING)
    files = contents(tmp_path)
    assert files["images/cam01/0003.png"] == "../../cam01/000003.png"
    assert files["cam01/images/0003.png"] == "../000003.png"
    assert (tmp_path / "colmap/dense/workspace/sparse/points3D.bin").is_file()
    assert (tmp_path / "colmap/dense/workspace/fused.ply").read_bytes() == files["points3D.ply"]
    for link in tmp_path.rglob("*"):
        assert link.exists(), link
    assert any("wants 300 frames a camera, the clip has 4" in note for note in report.notes)
    assert any("4DGaussians' own trainer" in note for note in report.notes)


def test_transforms_are_opengl_cameras_of_every_frame(tmp_path: Path) -> None:
    prepare(scene(tmp_path), upstream_moegs=True)
    train = json.loads((tmp_path / "transforms_train.json").read_text())
    test = json.loads((tmp_path / "transforms_test.json").read_text())
    assert (train["fl_x"], train["fl_y"], train["cx"], train["cy"]) == (60.0, 60.0, 32.0, 24.0)
    assert [Path(row["file_path"]).name for row in test["frames"]] == [f"cam00_{frame:04d}" for frame in range(4)]
    assert len(train["frames"]) == 8
    camera = rig_cameras(RIG)["cam02"]
    row = next(row for row in train["frames"] if row["file_path"].endswith("cam02_0000"))
    ahead = torch.linalg.inv(camera.world_to_camera) @ torch.tensor([0.2, 0.3, 2.0, 1.0], dtype=torch.float64)
    seen = np.linalg.inv(np.array(row["transform_matrix"])) @ ahead.numpy()
    assert seen == pytest.approx([0.2, -0.3, -2.0, 1.0])


@pytest.mark.parametrize("everything", [{}, EVERYTHING], ids=["points", "everything"])
def test_raising_inside_any_step_leaves_a_folder_that_the_next_run_completes(
    tmp_path: Path, everything: dict[str, Any]
) -> None:
    raw, stand_in = scene(tmp_path / "raw"), StandIn()
    prepare(shutil.copytree(raw, tmp_path / "whole"), stand_in, **everything)
    whole = contents(tmp_path / "whole")
    assert len(stand_in.calls) == (5 if everything else 4)
    for number in range(1, len(stand_in.calls) + 1):
        root = shutil.copytree(raw, tmp_path / str(number))
        with pytest.raises(Killed):
            prepare(root, StandIn(dies_at=number), **everything)
        assert not list((root / "preparation" / "unfinished").iterdir())
        prepare(root, **everything)
        assert contents(root) == whole


def test_killed_at_any_change_of_the_disk_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = scene(tmp_path / "raw")
    first = shutil.copytree(raw, tmp_path / "whole")
    with killed_at(monkeypatch, 10**6) as tried:
        prepare(first, **EVERYTHING)
    whole = contents(first)
    operations = one_of_every_kind(tried, first)
    assert len(operations) > 20  # seen: 25 of 254
    for operation in operations:
        root = shutil.copytree(raw, tmp_path / str(operation))
        with pytest.raises(Killed), killed_at(monkeypatch, operation):
            prepare(root, **EVERYTHING)
        prepare(root, **EVERYTHING)
        assert contents(root) == whole, tried[operation]


def test_images_in_place_of_videos(tmp_path: Path) -> None:
    write_n3v_scene(tmp_path, RIG, pattern="{name}/{frame}.png")
    before = contents(tmp_path)
    report = prepare(tmp_path, frames="all", resolution=2)
    assert Image.open(report.images["cam00"]).size == (64, 48)
    assert {name: content for name, content in contents(tmp_path).items() if name in before} == before
    assert not (tmp_path / "cam00" / "000000.png").exists()


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    write_n3v_scene(tmp_path, RIG, pattern="{name}/{frame}.png")
    path = tmp_path / "cam01" / "0.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SceneError, match=r"cam01/0\.png: damaged; copy it again"):
        prepare(tmp_path)
    assert not (tmp_path / "colmap_0").exists()


def test_images_that_someone_extracted_go_before_the_videos(tmp_path: Path) -> None:
    scene(tmp_path)
    write_n3v_frames(tmp_path, Rig(frames=2), "{name}/{frame}.png")
    report = prepare(tmp_path)
    assert report.frames == 2
    assert "frames from camXX/<number>.png, found there and used as they are" in report.notes
    for path in (tmp_path / "cam02").iterdir():
        path.unlink()
    with pytest.raises(SceneError, match=r"videos of 3 cameras, but images in camXX/ of 2"):
        prepare(tmp_path)


def test_smaller_frames_are_told_to_be_trained_on_as_they_are(tmp_path: Path) -> None:
    report = prepare(scene(tmp_path), frames="all", resolution=2)
    assert any("frames of 32x24 px" in note and "-r 1" in note for note in report.notes)
