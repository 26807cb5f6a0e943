from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scenes import Scene, SceneError, SceneOptions, load_scene
from tests.scenes.scene_folders import (
    Rig,
    colour,
    draw,
    write_colmap_model,
    write_n3v_frames,
    write_n3v_scene,
    write_poses_bounds,
    write_video,
)


def load(folder: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=folder.parent / "cache", progress=False, **options))


def left(image: np.ndarray) -> np.ndarray:
    return image[:, : image.shape[1] // 2 - 4].reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize(
    "pattern",
    [
        "{name}.mp4",
        "{name}/{frame}.png",
        "{name}/{frame:06d}.png",
        "{name}/{frame:04d}.jpg",
        "{name}/images/{frame:04d}.png",
        "images/{name}/{frame:04d}.png",
        "colmap_{frame}/images/{name}.png",
        "{name}/frame_{frame:05d}.jpg",
        "{name}/frame{frame}.png",
    ],
)
def test_every_frame_layout_gives_cameras_and_frames(tmp_path, pattern):
    cameras = write_n3v_scene(tmp_path / "room", Rig(frames=11), pattern=pattern)
    scene = load(tmp_path / "room")
    assert [view.name for view in scene.views] == ["cam00", "cam01", "cam02"]
    assert [view.number for view in scene.views] == [0, 1, 2]
    assert (scene.name, scene.num_frames, scene.start, scene.test, scene.train) == ("room", 11, 0, (0,), (1, 2))
    for index, view in enumerate(scene.views):
        expected = cameras[view.name]
        torch.testing.assert_close(view.camera.world_to_camera, expected.world_to_camera.float(), rtol=0, atol=1e-6)
        assert replace(view.camera, world_to_camera=None) == replace(expected, world_to_camera=None)
        for frame in (0, 2, 10):
            image = scene.frames.read(index, frame)
            assert image.shape == (48, 64, 3) and image.dtype == np.uint8
            tolerance = 0 if pattern.endswith(".png") else 3.5  # 3.1 measured with H.264's chroma at half size
            assert np.abs(left(image) - colour(index, frame)).max() <= tolerance


def test_frames_win_over_the_video_unless_they_are_fewer(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, Rig(frames=4))
    write_n3v_frames(folder, Rig(frames=3), image=lambda *place: 255 - draw(*place))
    whole = load(folder)
    assert whole.num_frames == 4
    assert "frames from camXX.mp4; incomplete and not used: camXX/<number>.png" in whole.notes
    part = load(folder, end=3)
    assert part.num_frames == 3
    assert "frames from camXX/<number>.png, preferred to camXX.mp4" in part.notes
    assert tuple(part.frames.read(1, 2)[0, 0]) == tuple(255 - np.array(colour(1, 2)))


def test_images_of_some_cameras_do_not_win(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder)
    write_n3v_frames(folder, Rig(cameras=["cam00", "cam01"]))
    assert "frames from camXX.mp4; incomplete and not used: camXX/<number>.png" in load(folder).notes


@pytest.mark.parametrize("pattern", ["{name}.mp4", "{name}/{frame}.png"])
def test_start_end_and_duration_cut_the_clip(tmp_path, pattern):
    folder = tmp_path / "room"
    write_n3v_scene(folder, Rig(frames=8), pattern=pattern)
    scene = load(folder, start=2, end=7, duration=3)
    assert (scene.start, scene.num_frames, scene.footage_frames) == (2, 3, 6)
    assert np.abs(left(scene.frames.read(1, 2)) - colour(1, 4)).max() <= 3.5
    with pytest.raises(IndexError, match="frame 3 of cam01: the clip has 3 frames"):
        scene.frames.read(1, 3)


def test_images_numbered_from_one(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(start=1), pattern="{name}/{frame:03d}.png")
    scene = load(tmp_path / "room")
    assert (scene.start, scene.num_frames) == (1, 4)
    assert "frame numbers begin at 1, so the clip begins at frame 1" in scene.notes
    assert tuple(scene.frames.read(2, 0)[0, 0]) == colour(2, 1)


def test_images_whose_numbers_begin_differently_are_named(tmp_path, caplog):
    caplog.set_level(logging.WARNING)  # as with --quiet
    write_n3v_scene(tmp_path / "room", Rig(start=1), pattern="{name}/{frame:03d}.png")
    for path in sorted((tmp_path / "room" / "cam02").iterdir(), reverse=True):  # 1 to 4 become 3 to 6
        path.rename(path.with_stem(f"{int(path.stem) + 2:03d}"))
    scene = load(tmp_path / "room", duration=2)
    assert (scene.start, scene.num_frames) == (3, 2)
    warning = (
        "numbers of images begin at 1, but cam02 at 3; images of one number are taken for one moment: if the first"
    )
    assert [record.message for record in caplog.records] == [note for note in scene.notes if warning in note]
    caplog.clear()
    for path in sorted((tmp_path / "room" / "cam02").iterdir()):
        path.rename(path.with_stem(f"{int(path.stem) - 2:03d}"))
    assert load(tmp_path / "room", duration=2).start == 1 and not caplog.records


def test_the_shortest_camera_decides_where_nothing_is_asked_for(tmp_path, caplog):
    caplog.set_level(logging.WARNING)  # as with --quiet
    folder = tmp_path / "room"
    write_n3v_scene(folder)
    write_video(folder / "cam01.mp4", [draw(1, 0, 64, 48)] * 2)
    scene = load(folder)
    assert scene.num_frames == 2
    cut = "clip cut to 2 frames, the length of cam01 (others: up to 4)"
    assert cut in scene.notes
    assert caplog.messages == [cut]
    caplog.clear()
    load(folder, duration=2)  # asked for, so nothing is lost
    assert not caplog.messages


@pytest.mark.parametrize(
    ("copied", "said"),
    [({}, None), ({2: 1}, ""), ({2: 0, 4: 1}, ", as 1 more pair"), ({2: 0, 4: 0}, ", as 1 more pair")],
)
def test_cameras_of_one_pose_are_named(tmp_path, caplog, copied, said):
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "room"
    write_n3v_scene(folder, Rig(cameras=[f"cam{number:02d}" for number in range(5)]))
    rows = np.load(folder / "poses_bounds.npy")
    for camera, other in copied.items():
        rows[camera] = rows[other]
    np.save(folder / "poses_bounds.npy", rows)
    load(folder)
    pair = f"cam{copied.get(2, 0):02d} and cam02 have the same pose{said}, which two cameras cannot: correct one"
    assert [pair in message for message in caplog.messages] == [True] * (said is not None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": 9}, r"cam00: 4 frames found from frame 0 on, 9 asked for, 2 other of 3 cameras are too short"),
        ({"end": 6}, r"cam00: 4 frames found from frame 0 on, 6 asked for"),
        ({"end": 4, "duration": 9}, r"duration 9 exceeds the 4 frames of \[0, 4\)"),
        ({"start": 3, "end": 3}, r"end 3 leaves no frame from 3 on"),
        ({"duration": 0}, r"duration 0 leaves no frame"),
        ({"start": -3}, r"start -3 names no frame: frames are counted from 0"),
        ({"start": 7}, r"cam00: no frame 7, its frames are 0 to 3"),
        ({"test_cameras": ("cam7",)}, r"test camera cam7 does not exist; available: cam00, cam01, cam02"),
        ({"test_cameras": ("cam00", "cam01", "cam02")}, r"all cameras \(cam00, cam01, cam02\) are held out"),
        ({"resolution": 0}, r"resolution 0 means nothing"),
        ({"layout": "blender"}, r"layout 'blender' is unknown; use n3v or technicolor"),
        ({"layout": "technicolor"}, r"looks like the n3v layout, not technicolor"),
        ({"resize": "nearest"}, r"resize filter 'nearest' is unknown; use bilinear"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    write_n3v_scene(tmp_path / "room")
    with pytest.raises(SceneError, match=message):
        load(tmp_path / "room", **options)


def test_test_cameras_by_name_and_by_default(tmp_path):
    write_n3v_scene(tmp_path / "room", Rig(cameras=["cam03", "cam05", "cam11"]))
    assert "no camera cam00, so the first one, cam03, is held out" in load(tmp_path / "room").notes
    scene = load(tmp_path / "room", test_cameras=("cam11", "cam05"))
    assert (scene.test, scene.train) == ((1, 2), (0,))
    assert [view.number for view in scene.views] == [3, 5, 11]
    assert load(tmp_path / "room", test_cameras=()).train == (0, 1, 2)


def test_rig_radius_is_of_the_training_cameras(tmp_path):
    cameras = write_n3v_scene(tmp_path / "room", Rig(cameras=["cam00", "cam01", "cam02", "cam03"]))
    centres = np.stack([cameras[name].centre.numpy() for name in ("cam01", "cam02", "cam03")])
    expected = 1.1 * np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()
    assert load(tmp_path / "room").rig_radius == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("resolution", "size"), [(1, (64, 48)), (2, (32, 24)), (40, (40, 30)), (-1, (64, 48))])
def test_intrinsics_follow_the_training_size(tmp_path, resolution, size):
    write_n3v_scene(tmp_path / "room")
    scene = load(tmp_path / "room", resolution=resolution)
    camera = scene.views[1].camera
    assert (camera.width, camera.height) == size
    assert (camera.fx, camera.fy) == pytest.approx((60 * size[0] / 64, 60 * size[1] / 48))
    assert (camera.cx, camera.cy) == (size[0] / 2, size[1] / 2)
    assert scene.frames.read(1, 0).shape == (size[1], size[0], 3)


def test_frames_of_another_size_than_the_poses_say(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, Rig(width=32, height=24))
    write_poses_bounds(folder / "poses_bounds.npy", list(write_n3v_scene(tmp_path / "full").values()))
    scene = load(folder)
    assert scene.views[0].camera.fx == 30
    assert "calibration at 64x48 px, intrinsics scaled to 32x24 px (all cameras)" in scene.notes
    write_n3v_frames(folder, Rig(width=32, height=32), "{name}.mp4")
    with pytest.raises(SceneError, match="cam00: frames of 32x32 px do not have the aspect ratio"):
        load(folder)


def test_missing_and_wrong_poses(tmp_path):
    folder = tmp_path / "room"
    cameras = list(write_n3v_scene(folder).values())
    poses = folder / "poses_bounds.npy"
    rows = np.load(poses)
    write_poses_bounds(poses, [*cameras, cameras[0]])
    with pytest.raises(SceneError, match=r"4 rows, but 3 cameras have frames \(cam00, cam01, cam02\)"):
        load(folder)
    np.save(poses, rows[:, :15])
    with pytest.raises(SceneError, match=r"shape \[3, 15\], expected floats of shape \[cameras, 17\]"):
        load(folder)
    rows[1, 3] = np.nan
    np.save(poses, rows)
    with pytest.raises(SceneError, match="the row of cam01 is no camera"):
        load(folder)
    poses.write_bytes(b"text")
    with pytest.raises(SceneError, match="not a readable numpy file"):
        load(folder)
    poses.unlink()
    with pytest.raises(SceneError, match=r"neither poses_bounds.npy nor a COLMAP model"):
        load(folder)


def test_mirrored_poses_are_refused(tmp_path):
    write_n3v_scene(tmp_path / "room")
    rows = np.load(tmp_path / "room" / "poses_bounds.npy")
    rows[:, [0, 5, 10]] *= -1
    np.save(tmp_path / "room" / "poses_bounds.npy", rows)
    with pytest.raises(SceneError, match="the row of cam00 is no camera"):
        load(tmp_path / "room")


def test_missing_folder_and_missing_frames(tmp_path):
    (tmp_path / "beside").mkdir()
    with pytest.raises(SceneError, match="no such folder; nearest beside it: beside"):
        load(tmp_path / "room")
    with pytest.raises(SceneError, match=r"no frames found; looked for camXX/<number>.png, camXX.mp4"):
        load(tmp_path / "beside")


def test_gaps_and_double_numbers(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, pattern="{name}/{frame}.png")
    (folder / "cam02" / "2.png").rename(folder / "cam02" / "notes.png")
    with pytest.raises(SceneError, match="cam02: frame 2 is missing, its frames are 0 to 3"):
        load(folder)
    assert load(folder, end=2).num_frames == 2
    (folder / "cam02" / "notes.png").rename(folder / "cam02" / "0001.png")
    with pytest.raises(SceneError, match=r"1.png and 0001.png are both frame 1"):
        load(folder)


def test_warns_of_coffee_martinis_unsynchronised_camera(tmp_path, caplog):
    rig = Rig(cameras=["cam00", "cam12", "cam13"])
    write_n3v_scene(tmp_path / "coffee_martini", rig)
    write_n3v_scene(tmp_path / "room", rig)
    with caplog.at_level(logging.WARNING):
        assert not any("cam13" in note for note in load(tmp_path / "room").notes)
        assert not any("cam13" in note for note in load(tmp_path / "coffee_martini", test_cameras=("cam13",)).notes)
        assert "cam13" not in caplog.text
        assert any("cam13 of coffee_martini is not sync" in note for note in load(tmp_path / "coffee_martini").notes)
        assert "cam13 of coffee_martini" in caplog.text


def test_cameras_of_different_frame_sizes_are_reported(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder)
    write_video(folder / "cam01.mp4", [draw(1, frame, 32, 24) for frame in range(4)])
    scene = load(folder)
    assert {
        "frames: 64x48 px (cam00 and 1 more)",
        "frames: 32x24 px (cam01)",
        "calibration at 64x48 px, intrinsics scaled to 32x24 px (cam01)",
        "cameras differ in frame size",
    } <= set(scene.notes)
    assert "frames: 64x48 px, resized to 32x24 px (cam00 and 1 more)" in load(folder, resolution=2).notes
    assert scene.frames.read(1, 0).shape == (24, 32, 3)


def test_alpha_and_grey_images(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, pattern="{name}/{frame}.png")
    Image.fromarray(np.full((48, 64, 4), (100, 150, 200, 51), np.uint8)).save(folder / "cam01" / "0.png")
    Image.fromarray(np.full((48, 64), 77, np.uint8)).save(folder / "cam01" / "1.png")
    scene = load(folder)
    assert tuple(scene.frames.read(1, 0)[5, 5]) == (20, 30, 40)  # a fifth of it, on black
    assert tuple(scene.frames.read(1, 1)[5, 5]) == (77, 77, 77)


UNPADDED = Rig(cameras=("cam1", "cam2", "cam10"))


def test_unpadded_names_are_refused_where_poses_come_by_row(tmp_path):
    write_n3v_scene(tmp_path / "room", UNPADDED)
    with pytest.raises(SceneError, match=r"unclear for cam1, cam2, cam10; give all names as many digits"):
        load(tmp_path / "room")


def test_unpadded_names_are_in_natural_order_where_cameras_have_names(tmp_path):
    cameras = write_n3v_scene(tmp_path / "room", UNPADDED)
    write_colmap_model(tmp_path / "room" / "colmap_0" / "sparse" / "0", cameras)
    scene = load(tmp_path / "room")
    assert [view.name for view in scene.views] == ["cam1", "cam2", "cam10"]
    assert any("could not be compared" in note and "unclear" in note for note in scene.notes)
    for index, view in enumerate(scene.views):
        expected = cameras[view.name].world_to_camera.float()
        torch.testing.assert_close(view.camera.world_to_camera, expected, rtol=0, atol=1e-6)
        assert np.abs(left(scene.frames.read(index, 0)) - colour(index, 0)).max() <= 3.5  # H.264, as above


def test_a_model_in_sparse_0_is_read_where_there_are_no_other_cameras(tmp_path):
    folder = tmp_path / "room"
    cameras = write_n3v_scene(folder)
    moved = {name: replace(camera, fx=70.0, fy=70.0) for name, camera in cameras.items()}
    write_colmap_model(folder / "sparse" / "0", moved, suffix="/frame_00001.png")
    assert {view.camera.fx for view in load(folder).views} == {60.0}
    (folder / "poses_bounds.npy").unlink()
    scene = load(folder)
    assert "cameras from sparse/0" in scene.notes
    assert [(view.name, view.camera.fx) for view in scene.views] == [(name, 70.0) for name in cameras]


def test_files_of_operating_systems_are_no_frames(tmp_path):
    folder = tmp_path / "room"
    write_n3v_scene(folder, pattern="{name}/{frame}.png")
    for name in ("._cam00.mp4", "cam00/._0.png", "cam00/Thumbs.db", "Thumbs.db", "cam01/.DS_Store", "cam01/._7.png"):
        (folder / name).write_bytes(b"of the system")
    scene = load(folder)
    assert (scene.num_frames, scene.notes[0]) == (4, "frames from camXX/<number>.png")


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ((), "the folder is empty"),
        ((".DS_Store",), "the folder is empty"),
        (("CAM00.MP4",), r"there are 1 video \(CAM00.MP4\): .* run: python moegs.py prepare videos .*room"),
        (("flame/cam00.mp4", "steak/poses_bounds.npy"), r"it holds 2 scenes \(flame, steak\): give the folder of one"),
        (
            ("images/cam00.jpg", "images/cam01.jpg", "sparse/cameras.bin"),
            r"images/ beside sparse/ holds 2 images \(cam00.jpg, cam01.jpg\) of one frame.* as cam00/000000.jpg",
        ),
        (("Fabien/Fabien_undist_00001_00.png",), r"it holds 1 scene \(Fabien\): give the folder of one scene"),
        (
            ("l/IMG_2024_1.jpg", "r/a.png"),
            r"there are 2 folders \(l, r\) with images: .* run: python moegs.py prepare videos",
        ),
        (("a.png", "b.png", "c.png", "d.png"), r"there are 4 images \(a.png, b.png, c.png and 1 more\): put those of"),
        (("notes.txt", "more/x.txt"), r"no video or image is there, but 2 others \(more, notes.txt\); give the folder"),
    ],
)
def test_a_folder_without_frames_is_told_what_it_holds_and_what_helps(tmp_path, files, advice):
    (tmp_path / "room").mkdir()
    for name in files:
        (tmp_path / "room" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "room" / name).touch()
    with pytest.raises(SceneError, match=rf"no frames found; looked for camXX/.* \(N3V layout\); {advice}"):
        load(tmp_path / "room")
