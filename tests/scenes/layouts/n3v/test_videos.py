from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scenes import SceneError, SceneOptions, load_scene
from scenes.layouts.n3v import videos
from scenes.layouts.n3v.videos import prepare_videos
from scenes.preparation.report import PrepareReport
from scenes.preparation.rig import CameraMotion
from tests.scenes.preparation.stand_in import (
    Killed,
    Settings,
    StandIn,
    contents,
    killed_at,
    one_of_every_kind,
    outcomes,
    videos_options,
)
from tests.scenes.scene_folders import Rig, rig_cameras, write_colmap_model, write_n3v_frames, write_video

RIG = Rig(cameras=("cam00", "cam01", "cam02"), frames=3, width=96, height=72)
NAMES = ("GoPro 2.MOV", "GoPro 10.mkv", "left.mp4")  # in the order of cameras
WALLS = np.random.default_rng(2).integers(0, 256, (3, 100, 160, 3), np.uint8)


def still(camera: int, frame: int, width: int, height: int) -> np.ndarray:
    return np.kron(WALLS[camera, : height // 4, : width // 4], np.ones((4, 4, 1), np.uint8))


def panning(camera: int, frame: int, width: int, height: int) -> np.ndarray:
    return np.roll(still(camera, frame, width, height), 5 * frame * (camera == 1), axis=1)


def scene(root: Path, names: tuple[str, ...] = NAMES, image: Any = still) -> Path:
    root.mkdir(exist_ok=True)
    for camera, name in enumerate(names):
        write_video(root / name, [image(camera, frame, RIG.width, RIG.height) for frame in range(RIG.frames)])
    return root


def prepare(root: Path, stand_in: StandIn | None = None, **changed: Any) -> PrepareReport:
    stand_in = stand_in or StandIn()
    stand_in.rig = stand_in.rig or rig_cameras(RIG)
    return prepare_videos(root, videos_options(**changed), sfm=stand_in.sfm())


def test_videos_of_any_name_become_a_scene_that_every_reader_takes(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig")
    stand_in = StandIn()
    report = prepare(root, stand_in)
    assert json.loads((root / "camera_names.json").read_text()) == {
        "cam00": "GoPro 2.MOV",
        "cam01": "GoPro 10.mkv",
        "cam02": "left.mp4",
    }
    assert [path.name for path in sorted(root.glob("cam*.mp4"))] == ["cam00.mp4", "cam01.mp4", "cam02.mp4"]
    assert stand_in.calls[0] == "mapped colmap_0"
    assert np.load(root / "poses_bounds.npy").shape == (3, 17)
    assert (report.kind, report.frames, list(report.cameras)) == ("videos", 3, ["cam00", "cam01", "cam02"])
    assert report.notes[0] == (
        "3 videos named cam00 to cam02 (camera_names.json); cam00 (GoPro 2.MOV) will be held out"
    )
    loaded = load_scene(root, SceneOptions(cache=tmp_path / "cache", progress=False))
    assert (loaded.num_frames, len(loaded.views)) == (3, 3)
    assert loaded.notes[0] == "frames from camXX.mp4"
    again = prepare(root, stand_in)
    assert set(outcomes(again).values()) == {"skipped"}
    assert again.clouds == report.clouds


def test_a_test_camera_by_the_name_of_its_video_is_told_its_number(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig")
    prepare(root)

    def refusal(*names: str) -> str:
        options = SceneOptions(cache=tmp_path / "cache", progress=False, needed="none", test_cameras=names)
        with pytest.raises(SceneError) as error:
            load_scene(root, options)
        return str(error.value)

    assert refusal("GoPro 10") == f"{root}: GoPro 10 is cam01 in this scene; give --test_cameras cam01"
    assert refusal("cam00", "left.mp4") == f"{root}: left.mp4 is cam02 in this scene; give --test_cameras cam00 cam02"
    assert refusal("right") == "test camera right does not exist; available: cam00, cam01, cam02"
    (root / "camera_names.json").write_text("[1, 2")
    assert refusal("GoPro 10") == "test camera GoPro 10 does not exist; available: cam00, cam01, cam02"


def test_what_a_preparation_wrote_or_linked_is_no_alternative_to_what_is_read(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig")
    prepare(root, frames="all", trainer_folders=("ed3dgs",))
    loaded = load_scene(root, SceneOptions(cache=tmp_path / "cache", progress=False, needed="none"))
    assert loaded.notes[0] == "frames from camXX/<number>.png"


def test_a_folder_of_other_videos_names_the_command_that_prepares_it(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig")
    options = SceneOptions(cache=tmp_path / "cache", progress=False)
    there = "there are 3 videos (GoPro 10.mkv, GoPro 2.MOV, left.mp4)"
    advice = f"(N3V layout); {there}: for videos of other names run: python moegs.py prepare videos {root}"
    with pytest.raises(SceneError, match=re.escape(advice)):
        load_scene(root, options)
    for path in root.iterdir():
        path.unlink()
    (root / "Thumbs.db").touch()
    with pytest.raises(SceneError, match=r"no frames found; looked for camXX/.*\(N3V layout\); the folder is empty$"):
        load_scene(root, options)


def test_names_that_are_camera_names_stay(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig", ("cam03.mp4", "cam07.mkv", "cam11.mp4"))
    stand_in = StandIn(rig=dict(zip(("cam03", "cam07", "cam11"), rig_cameras(RIG).values(), strict=True)))
    assert list(prepare(root, stand_in).images) == ["cam03", "cam07", "cam11"]
    assert not list(root.glob("cam0[0-2]*"))


def test_folders_of_images_are_numbered_and_linked(tmp_path: Path) -> None:
    for camera, name in enumerate(("left", "middle", "right")):
        folder = tmp_path / "rig" / name
        folder.mkdir(parents=True)
        for frame in range(3):
            Image.fromarray(still(camera, frame, 96, 72)).save(folder / f"shot {9 + frame}.png")
    root = tmp_path / "rig"
    prepare(root)
    assert contents(root)["cam01/000002.png"] == "../middle/shot 11.png"
    assert load_scene(root, SceneOptions(cache=tmp_path / "cache", progress=False)).num_frames == 3
    assert set(outcomes(prepare(root)).values()) == {"skipped"}


def test_numbered_images_of_named_cameras_stay(tmp_path: Path) -> None:
    write_n3v_frames(tmp_path, RIG, "{name}/{frame}.png", still)
    before = contents(tmp_path)
    prepare(tmp_path)
    assert {name: content for name, content in contents(tmp_path).items() if name.startswith("cam0")} == before


def test_images_called_frame_keep_their_folders_and_numbers(tmp_path: Path) -> None:
    rig = Rig(cameras=("cam01", "cam02", "cam03"), frames=3, start=1, width=96, height=72)
    write_n3v_frames(tmp_path, rig, "{name}/frame_{frame:05d}.png", lambda camera, *rest: still(camera, *rest))
    (tmp_path / "cam01" / "._frame_00001.png").write_bytes(b"resource fork")
    before = contents(tmp_path)
    report = prepare(tmp_path, StandIn(rig=rig_cameras(rig)))
    assert report.images == {name: tmp_path / name / "frame_00001.png" for name in rig.cameras}
    assert {name: content for name, content in contents(tmp_path).items() if name in before} == before
    loaded = load_scene(tmp_path, SceneOptions(cache=tmp_path / "cache", progress=False))
    assert (loaded.start, loaded.num_frames, [view.name for view in loaded.views]) == (1, 3, list(rig.cameras))


def test_videos_without_a_digit_in_their_names_become_numbered_cameras(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig", ("GoPro-A.MP4", "GoPro-B.MP4", "GoPro-C.MP4"))
    (root / "._GoPro-A.MP4").write_bytes(b"resource fork")
    prepare(root)
    names = {"cam00": "GoPro-A.MP4", "cam01": "GoPro-B.MP4", "cam02": "GoPro-C.MP4"}
    assert json.loads((root / "camera_names.json").read_text()) == names
    assert load_scene(root, SceneOptions(cache=tmp_path / "cache", progress=False)).num_frames == 3


def test_two_videos_are_too_few_before_anything_is_made(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig", NAMES[:2])
    before, stand_in = contents(root), StandIn()
    with pytest.raises(SceneError, match=r"videos found: 2; structure from motion needs at least 3 cameras"):
        prepare(root, stand_in)
    assert (contents(root), stand_in.calls) == (before, [])


def test_other_frames_are_triangulated_with_the_cameras_that_were_found(tmp_path: Path) -> None:
    stand_in = StandIn()
    report = prepare(scene(tmp_path / "rig"), stand_in, mapped_frame=1, every=2)
    assert [call for call in stand_in.calls if "colmap" in call] == [
        "mapped colmap_1",
        "triangulated colmap_0",
        "triangulated colmap_2",
    ]
    assert [cloud.frame for cloud in report.clouds] == [0, 1, 2]
    with pytest.raises(SceneError, match=r"frame 3 is to be mapped, but the clip has 0 to 2"):
        prepare(tmp_path / "rig", mapped_frame=3)


def test_one_frame_does_not_tell_whether_cameras_move(tmp_path: Path) -> None:
    report = prepare(scene(tmp_path / "rig"), end=1)
    assert "a clip of one frame does not tell whether cameras move" in report.notes
    assert not any(step.name.startswith("still_") for step in report.steps)


def test_a_moving_camera_is_refused_with_the_reason(tmp_path: Path) -> None:
    size = Rig(cameras=RIG.cameras, frames=3, width=480, height=360)
    write_n3v_frames(tmp_path, size, "{name}.mp4", panning)
    before, stand_in = contents(tmp_path), StandIn()
    with pytest.raises(SceneError, match=r"1 of 3 cameras move: cam01 \(.*places.*\); only rigs of still") as caught:
        prepare(tmp_path, stand_in)
    assert "\n" not in str(caught.value)
    assert (contents(tmp_path) | {"camera_names.json": b""}, stand_in.calls) == (
        before | {"camera_names.json": b""},
        [],
    )
    report = prepare(tmp_path, stand_in, accept_moving=True)
    assert any(note.startswith("moves, and is used all the same: cam01") for note in report.notes)


def test_differing_footage_is_reported_and_the_shortest_decides(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig")
    write_video(root / "left.mp4", [np.zeros((48, 64, 3), np.uint8)] * 2)
    report = prepare(root)
    assert report.frames == 2
    notes = " | ".join(report.notes)
    assert "cameras differ in frame size: 64x48 px: cam02; 96x72 px: cam00, cam01" in notes
    assert "clip cut to 2 frames, the length of cam02 (others: up to 3)" in notes


def test_cameras_that_are_not_found_are_named(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig")
    shutil.copyfile(root / "left.mp4", root / "right.mp4")
    cameras = rig_cameras(replace(RIG, cameras=("cam00", "cam01", "cam02", "cam03")))
    rig = {name: camera for name, camera in cameras.items() if name != "cam01"}
    with pytest.raises(SceneError, match=r"3 of 4 cameras found, not cam01 = GoPro 10.mkv: choose another frame"):
        prepare(root, StandIn(rig=rig))
    report = prepare(root, StandIn(rig=rig), sfm=Settings(accept_poor=True))
    assert any(note.startswith("not found and not used: cam01") for note in report.notes)
    left = prepare(root, StandIn(rig=rig_cameras(RIG)), leave_out=("GoPro 10.mkv",))
    assert list(left.cameras) == ["cam00", "cam01", "cam02"]
    assert not (root / "cam03.mp4").exists()


@pytest.fixture
def no_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every camera is still, without a look at its frames."""
    still = CameraMotion(textured=72, matched=72, still=72, shift=0.0)
    monkeypatch.setattr(videos, "motion_of", lambda source, clip: still)


@pytest.mark.usefixtures("no_motion")
def test_raising_inside_any_step_or_dying_at_any_change_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, stand_in = scene(tmp_path / "raw"), StandIn()
    first = shutil.copytree(raw, tmp_path / "whole")
    with killed_at(monkeypatch, 10**6) as tried:
        prepare(first, stand_in)
    whole = contents(first)
    assert len(stand_in.calls) == 5
    for number in range(1, len(stand_in.calls) + 1):
        root = shutil.copytree(raw, tmp_path / f"raised{number}")
        with pytest.raises(Killed):
            prepare(root, StandIn(dies_at=number))
        prepare(root)
        assert contents(root) == whole
    operations = one_of_every_kind(tried, first)
    assert len(operations) > 20  # seen: 24 of 172
    for operation in operations:
        root = shutil.copytree(raw, tmp_path / f"died{operation}")
        with pytest.raises(Killed), killed_at(monkeypatch, operation):
            prepare(root)
        prepare(root)
        assert contents(root) == whole, tried[operation]


@pytest.mark.usefixtures("no_motion")
def test_a_refused_run_leaves_a_calibrated_scene_as_it_was(tmp_path: Path) -> None:
    """Links of our numbering beside somebody's cameras would be read as these cameras."""
    root = scene(tmp_path / "rig")
    write_colmap_model(root / "colmap_0" / "sparse" / "0", rig_cameras(RIG))
    before = contents(root)
    with pytest.raises(SceneError, match="colmap_0 would be overwritten"):
        prepare(root)
    assert contents(root) == before
    with pytest.raises(SceneError, match="no frames found"):
        load_scene(root, SceneOptions(cache=tmp_path / "cache", progress=False))


@pytest.mark.usefixtures("no_motion")
def test_a_run_refused_for_its_result_leaves_nothing(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig")
    before, some = contents(root), dict(list(rig_cameras(RIG).items())[:2])
    with pytest.raises(SceneError, match="2 of 3 cameras found"):
        prepare(root, StandIn(rig=some))
    assert contents(root) == before
    assert not any((root / name).exists() for name in ("cam00", "colmap_0"))
    prepare(root)
    whole = contents(root)
    with pytest.raises(SceneError, match="would be overwritten"):  # refused beside cameras of the same names
        (root / "colmap_1").mkdir()
        prepare(root, every=1)
    assert contents(root) == whole


@pytest.mark.usefixtures("no_motion")
def test_frames_of_cameras_with_names_of_their_own_stay_for_the_next_run(tmp_path: Path) -> None:
    root = scene(tmp_path / "rig", ("cam00.mp4", "cam01.mp4", "cam02.mp4"))
    before, some = contents(root), dict(list(rig_cameras(RIG).items())[:2])
    with pytest.raises(SceneError, match="2 of 3 cameras found"):
        prepare(root, StandIn(rig=some))
    frames = {f"{name}/000000.png" for name in RIG.cameras}
    assert contents(root).keys() == before.keys() | frames
    assert {outcomes(prepare(root))[f"frames_{name}"] for name in RIG.cameras} == {"skipped"}


@pytest.mark.usefixtures("no_motion")
@pytest.mark.parametrize("left_out", ["GoPro 10.mkv", "right.mp4"])
def test_images_of_a_camera_that_is_left_out_later_are_not_read(tmp_path: Path, left_out: str) -> None:
    root = scene(tmp_path / "rig")
    shutil.copyfile(root / "left.mp4", root / "right.mp4")
    fresh = shutil.copytree(root, tmp_path / "fresh")
    four = rig_cameras(replace(RIG, cameras=("cam00", "cam01", "cam02", "cam03")))
    prepare(root, StandIn(rig=four))
    assert (root / "cam03" / "000000.png").is_file()
    prepare(root, leave_out=(left_out,))
    assert not (root / "cam03").exists()
    loaded = load_scene(root, SceneOptions(cache=tmp_path / "cache", progress=False))
    assert (loaded.num_frames, len(loaded.views)) == (3, 3)
    prepare(fresh, leave_out=(left_out,))
    assert contents(root) == contents(fresh)


@pytest.mark.usefixtures("no_motion")
def test_a_camera_with_a_name_of_its_own_loses_its_images_alone(tmp_path: Path) -> None:
    names = ("cam00", "cam01", "cam02", "cam03")
    root = scene(tmp_path / "rig", tuple(f"{name}.mp4" for name in names[:3]))
    shutil.copyfile(root / "cam02.mp4", root / "cam03.mp4")
    prepare(root, StandIn(rig=rig_cameras(replace(RIG, cameras=names))))
    report = prepare(root, leave_out=("cam03.mp4",))
    assert {outcomes(report)[f"frames_{name}"] for name in names[:3]} == {"skipped"}
    assert not (root / "cam03").exists()
    loaded = load_scene(root, SceneOptions(cache=tmp_path / "cache", progress=False))
    assert (loaded.num_frames, [view.name for view in loaded.views]) == (3, list(names[:3]))


def one_video(root: Path) -> None:
    for name in NAMES[1:]:
        (root / name).unlink()


def broken_video(root: Path) -> None:
    (root / "left.mp4").write_bytes(b"no video")


def own_poses(root: Path) -> None:
    (root / "poses_bounds.npy").write_bytes(b"mine")


def taken_name(root: Path) -> None:
    write_video(root / "cam01.mp4", [still(0, 0, 96, 72)] * 3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (one_video, r"videos found: 1; structure from motion needs at least 3"),
        (broken_video, r"cam02\.mp4: not a readable video"),
        (own_poses, r"poses_bounds\.npy would be overwritten"),
        (taken_name, r"cam01\.mp4 would be overwritten"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, damage: Any, message: str) -> None:
    root = scene(tmp_path / "rig")
    damage(root)
    before, stand_in = contents(root), StandIn()
    with pytest.raises(SceneError, match=message) as caught:
        prepare(root, stand_in)
    assert "\n" not in str(caught.value)
    assert stand_in.calls == []
    assert contents(root) == before


def test_what_is_left_out_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"middle\.mp4 is to be left out, but is not there"):
        prepare(scene(tmp_path / "rig"), leave_out=("middle.mp4",))
