from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scenes import SceneError, SceneOptions, load_scene
from scenes.layouts.technicolor.preparation import prepare_technicolor
from scenes.preparation.report import PrepareReport
from tests.scenes.preparation.stand_in import (
    Killed,
    StandIn,
    contents,
    killed_at,
    one_of_every_kind,
    options,
    outcomes,
)
from tests.scenes.preparation.test_damaged import truncate
from tests.scenes.scene_folders import rig_cameras, write_technicolor_scene

RNG = np.random.default_rng(1)
FRAMES = {(camera, frame): RNG.integers(0, 256, (34, 64, 3), np.uint8) for camera in range(12) for frame in range(9)}


def scene(root: Path) -> Path:
    write_technicolor_scene(root, image=lambda camera, frame, width, height: FRAMES[camera, frame])
    return root


def prepare(root: Path, stand_in: StandIn | None = None, **changed: Any) -> PrepareReport:
    return prepare_technicolor(root, options(**changed), sfm=(stand_in or StandIn()).sfm())


def image(root: Path, frame: int, camera: int) -> Path:
    return root / f"{root.name.capitalize()}_undist_{frame:05d}_{camera:02d}.png"


def test_it_leaves_what_the_experts_start_from(tmp_path: Path) -> None:
    root = scene(tmp_path / "birthday")
    before, stand_in = contents(root), StandIn()
    report = prepare(root, stand_in)
    assert stand_in.calls[0] == "triangulated colmap_1"
    made = contents(root)
    assert {name: made[name] for name in before} == before
    assert {"colmap_1/images/cam11.png", "points3D.ply", "points3D_downsample.ply"} <= set(made)
    assert (report.kind, report.start, report.frames, len(report.cameras)) == ("technicolor", 1, 3, 12)
    for name, camera in rig_cameras_of().items():
        found = report.cameras[name]
        assert (found.cx, found.cy) == pytest.approx((camera.cx, camera.cy))
        assert camera.cx != camera.width / 2
    loaded = load_scene(
        root, SceneOptions(cache=tmp_path / "cache", layout="technicolor", resolution=1, progress=False)
    )
    assert loaded.num_frames == 3
    assert set(outcomes(prepare(root)).values()) == {"skipped"}


def rig_cameras_of() -> dict[str, Any]:
    from tests.scenes.scene_folders import Rig

    cameras = [f"cam{i:02d}" for i in range(12)]
    return rig_cameras(Rig(cameras=cameras, start=1, frames=3, width=64, height=34, off_centre=(0.4, -0.25)))


def test_every_and_start_choose_the_frames_of_models(tmp_path: Path) -> None:
    report = prepare(scene(tmp_path / "birthday"), start=2, every=1)
    assert [cloud.frame for cloud in report.clouds] == [2, 3]
    assert report.images["cam03"] == image(tmp_path / "birthday", 2, 3)


def test_a_truncated_image_gets_its_missing_rows_from_the_frame_before(tmp_path: Path) -> None:
    root = scene(tmp_path / "birthday")
    path = image(root, 2, 9)
    damaged = truncate(path)
    report = prepare(root)
    mended = np.asarray(Image.open(path))
    own = int((mended == FRAMES[9, 2]).all(axis=(1, 2)).sum())
    assert 10 < own < 24  # about half of 34 rows
    assert np.array_equal(mended[:own], FRAMES[9, 2][:own])
    assert np.array_equal(mended[own:], FRAMES[9, 1][own:])
    assert report.repaired == (
        f"Birthday_undist_00002_09.png: rows {own} to 33 of 34 taken from Birthday_undist_00001_09.png",
    )
    assert path.with_name(path.name + ".damaged").read_bytes() == damaged
    again = prepare(root)
    assert set(outcomes(again).values()) == {"skipped"}
    assert again.repaired == report.repaired


def test_the_repair_is_still_told_when_the_camera_is_checked_anew(tmp_path: Path) -> None:
    root = scene(tmp_path / "birthday")
    truncate(image(root, 2, 9))
    first = prepare(root)
    (root / "preparation" / "checked_cam09.json").unlink()
    assert prepare(root).repaired == first.repaired


def test_the_first_frame_is_repaired_from_the_second(tmp_path: Path) -> None:
    root = scene(tmp_path / "birthday")
    truncate(image(root, 1, 0), share=0.3)
    report = prepare(root)
    assert report.repaired[0].endswith("taken from Birthday_undist_00002_00.png")
    assert np.array_equal(np.asarray(Image.open(image(root, 1, 0)))[-1], FRAMES[0, 2][-1])


def test_what_cannot_be_repaired_is_named(tmp_path: Path) -> None:
    root = scene(tmp_path / "birthday")
    truncate(image(root, 1, 4))
    truncate(image(root, 2, 4))
    with pytest.raises(SceneError, match=r"00001_04\.png: damaged, and so are or missing are the frames before and af"):
        prepare(root)
    before = contents(root)
    scene(root)
    image(root, 2, 4).write_bytes(b"no image")
    with pytest.raises(SceneError, match=r"00002_04\.png: not a PNG with a readable header"):
        prepare(root)
    assert before.keys() == contents(root).keys()


def test_killed_at_any_change_of_the_disk_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = scene(tmp_path / "raw" / "birthday")
    truncate(image(raw, 2, 9))
    first = shutil.copytree(raw, tmp_path / "whole" / "birthday")
    with killed_at(monkeypatch, 10**6) as tried:
        prepare(first)
    whole = contents(first)
    operations = one_of_every_kind(tried, first)
    assert len(operations) > 12  # seen: 16 of 195
    for operation in operations:
        root = shutil.copytree(raw, tmp_path / str(operation) / "birthday")
        with pytest.raises(Killed), killed_at(monkeypatch, operation):
            prepare(root)
        assert len(prepare(root).repaired) == 1
        assert contents(root) == whole, tried[operation]


def test_layout_of_ed3dgs_counts_from_the_clips_start(tmp_path: Path) -> None:
    root = scene(tmp_path / "birthday")
    prepare(root, start=2, trainer_folders=("ed3dgs",))
    files = contents(root)
    assert files["images/cam03/0000.png"] == "../../Birthday_undist_00002_03.png"
    assert (root / "colmap/dense/workspace/sparse/points3D.bin").is_file()


def no_table(root: Path) -> None:
    (root / "cameras_parameters.txt").unlink()


def short_table(root: Path) -> None:
    path = root / "cameras_parameters.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:5]))


def broken_table(root: Path) -> None:
    path = root / "cameras_parameters.txt"
    path.write_text(path.read_text().replace(" 0 ", " x ", 1))


def missing_image(root: Path) -> None:
    image(root, 2, 5).unlink()


def no_images(root: Path) -> None:
    for path in root.glob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_table, r"cameras_parameters\.txt: no such file"),
        (short_table, r"no row for cam04, cam05, .*, only for cam00, cam01, cam02, cam03; complete it"),
        (broken_table, r"row 1 \(cam00\): could not convert"),
        (missing_image, r"cam05: frame 2 is missing"),
        (no_images, r"no frames found"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(tmp_path: Path, damage: Any, message: str) -> None:
    root = scene(tmp_path / "birthday")
    damage(root)
    before, stand_in = contents(root), StandIn()
    with pytest.raises(SceneError, match=message) as caught:
        prepare(root, stand_in)
    assert "\n" not in str(caught.value)
    assert (contents(root), stand_in.calls) == (before, [])


@pytest.mark.parametrize(
    "changed", [{"resolution": 2}, {"upstream_moegs": True}, {"trainer_folders": ("4dgaussians",)}]
)
def test_options_of_n3v_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(SceneError, match=r"Technicolor"):
        prepare(scene(tmp_path / "birthday"), **changed)
