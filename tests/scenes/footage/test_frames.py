"""Faults put into the footage of a small filmed room are found with the right numbers, and no others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import scenes.footage.frames as frames_checks
from scenes.footage import FrameChecks, check_frames, frames_table
from scenes.footage.synchrony import SURE, Offset
from tests.scenes.footage.filmed_room import COUNT, FIRST, SIZE, Footage, film, filmed, room, with_camera


def spoilt(view: int, spoil) -> Footage:
    return Footage(films=film(), spoilt={view: spoil})


def offsets(checks: FrameChecks) -> list[float]:
    assert all(row.offset is not None and row.offset.is_sure for row in checks.cameras)
    return [row.offset.frames for row in checks.cameras]


def test_a_room_without_faults(tmp_path):
    checks = check_frames(room(tmp_path, points=True))
    assert checks.warnings == checks.notes == ()
    assert np.abs(offsets(checks)).max() < 0.1
    assert np.abs([row.colours.gains for row in checks.cameras]).max() < 0.01
    assert min(row.shared for row in checks.cameras) > 0.8


@pytest.mark.parametrize("late", [1, -1, 2, -3, 5, -5, 10])
@pytest.mark.parametrize("view", [0, 3])
def test_a_camera_out_of_step(tmp_path, view, late):
    checks = check_frames(room(tmp_path, Footage(films=film(), late={view: late})))
    expected = np.zeros(SIZE.num_cameras)
    expected[view] = late
    assert offsets(checks) == pytest.approx(expected, abs=0.25)
    (warning,) = checks.warnings
    assert warning.startswith(f"cam{view:02d} is {abs(late):.1f} frames {'behind' if late > 0 else 'ahead of'} the")
    cut = "first frame" if abs(late) == 1 else f"first {abs(late)} frames"
    assert f"; cut the {cut} off {'its video' if late > 0 else 'the videos of the others'}, or leave" in warning


def test_half_a_frame_is_measured(tmp_path):
    films = film()
    films[2] = filmed(2, half=True)
    checks = check_frames(room(tmp_path, Footage(films=films)))
    assert offsets(checks) == pytest.approx([0, 0, -0.5, 0, 0], abs=0.2)
    assert checks.warnings == ()


def test_two_cameras_out_of_step(tmp_path):
    checks = check_frames(room(tmp_path, Footage(films=film(), late={1: 4, 4: -2})))
    assert offsets(checks) == pytest.approx([0, 4, 0, 0, -2], abs=0.25)
    assert [warning[:20] for warning in checks.warnings] == ["cam01 is 4.0 frames ", "cam04 is 2.0 frames "]


def test_no_offset_without_motion_or_in_a_short_clip(tmp_path):
    rng = np.random.default_rng(0)
    noise = tuple(np.clip(frames[:1] + rng.normal(0, 3, frames.shape), 0, 255).astype(np.uint8) for frames in film())
    for films, frames in (
        (tuple(np.repeat(clip[:1], len(clip), 0) for clip in film()), COUNT),
        (noise, COUNT),
        (film(), 12),
    ):
        checks = check_frames(room(tmp_path, Footage(films=films), frames=frames))
        assert checks.warnings == ()
        assert not any(row.offset and row.offset.is_sure for row in checks.cameras)
        assert checks.notes[1].startswith("offset in time not measured of any camera: too little motion")


def test_a_thing_that_flashes_by_once_does_not_put_a_camera_out_of_step(tmp_path):
    """What moves all the time says offset 0; a frame is bright in all cameras, in one of them four frames later."""
    films = [clip.copy() for clip in film()]
    for view, clip in enumerate(films):
        bright = FIRST + 12 + (4 if view == 3 else 0)
        clip[bright] = np.clip(clip[bright].astype(int) + 60, 0, 255)
    checks = check_frames(room(tmp_path, Footage(films=films), frames=30))
    assert checks.warnings == ()
    flashed = checks.cameras[3].offset
    assert flashed.frames == pytest.approx(4, abs=0.1) and flashed.peak > SURE and flashed.moments < 3
    assert not flashed.is_sure and "offset in time not measured of" in checks.notes[1]


@pytest.mark.parametrize(("length", "is_out"), [(64, True), (300, True), (30, False)])
def test_a_broad_peak_beside_zero_says_less_in_a_short_clip(length, is_out):
    """Such as those of real cameras in step: 1.01 frames, of which 59 to 85 % of the peak are left at offset 0."""
    offset = Offset(frames=1.01, correlation=0.3, at_zero=0.24, peak=6.4, moments=18, length=length)
    assert offset.is_sure and offset.is_out_of_step == is_out
    assert replace(offset, at_zero=0.1).is_out_of_step


def test_a_darker_and_bluer_camera(tmp_path):
    gains = (0.7, 0.75, 0.85)
    checks = check_frames(room(tmp_path, spoilt(3, lambda image: (image * gains + 0.5).astype(np.uint8)), points=True))
    assert np.exp(checks.cameras[3].colours.gains) == pytest.approx(gains, abs=0.02)
    assert np.exp([row.colours.gains for row in checks.cameras if row.name != "cam03"]) == pytest.approx(
        np.ones((4, 3)), abs=0.02
    )
    (warning,) = checks.warnings
    assert warning.startswith(
        "1 of 5 cameras differs in colour by 10% or more in a channel: cam03 is 23% darker and bluer ("
    )
    assert "--colour_correction" in warning


def test_colours_and_common_areas_need_start_points(tmp_path):
    checks = check_frames(room(tmp_path, spoilt(3, lambda image: image // 2)))
    assert {(row.colours, row.shared) for row in checks.cameras} == {(None, None)}
    assert checks.notes == ("order of poses, colours and common areas not measured: no start points",)
    assert checks.warnings == ()


def test_a_blurred_camera(tmp_path):
    sigma = 2 * SIZE.width / 320
    checks = check_frames(room(tmp_path, spoilt(1, lambda image: gaussian_filter(image, (2 * sigma, 2 * sigma, 0)))))
    (warning,) = checks.warnings
    assert warning.startswith(
        f"blurred in comparison with the other cameras: cam01 ({checks.cameras[1].sharpness:.0%} of"
    )
    assert checks.cameras[1].sharpness < 0.8


def test_a_camera_that_looks_elsewhere(tmp_path):
    scene = room(tmp_path, points=True)
    camera = scene.views[4].camera
    angle = math.radians(120)
    turn = torch.eye(4)
    turn[0, 0] = turn[2, 2] = math.cos(angle)
    turn[0, 2], turn[2, 0] = math.sin(angle), -math.sin(angle)
    moved = with_camera(scene, 4, replace(camera, world_to_camera=turn @ camera.world_to_camera))
    checks = check_frames(moved)
    assert checks.cameras[4].shared < 0.1
    assert np.median(np.abs([row.offset.frames for row in checks.cameras[:4]])) < 0.1  # by the start points
    assert [warning[:75] for warning in checks.warnings] == [
        "sees almost nothing of what two other cameras see: cam04 (0% of its image);"
    ]


def test_swapped_footage_of_two_cameras(tmp_path):
    films = film()
    films[1], films[4] = films[4], films[1]
    checks = check_frames(room(tmp_path, Footage(films=films), points=True))
    (warning,) = checks.warnings
    assert "different orders: cam01's pose shows cam04's image, cam04's pose shows cam01's image; rows of" in warning


def test_footage_of_a_camera_that_is_not_there(tmp_path):
    films = film()
    films[1] = films[1][:, ::-1, ::-1]  # upside down
    checks = check_frames(room(tmp_path, Footage(films=films), points=True))
    assert [row.colours.agreement < 0.4 for row in checks.cameras] == [False, True, False, False, False]
    (warning,) = [warning for warning in checks.warnings if "shows other colours" in warning]
    assert "cam01 (correlation" in warning


def test_only_the_asked_views_are_read(tmp_path):
    films: list = film()
    films[0] = None
    scene = room(tmp_path, Footage(films=films, late={2: 3}), points=True)
    checks = check_frames(scene, views=scene.train)
    assert [row.name for row in checks.cameras] == ["cam01", "cam02", "cam03", "cam04"]
    assert offsets(checks) == pytest.approx([0, 3, 0, 0], abs=0.25)


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    scene = room(tmp_path)
    assert check_frames(scene, seed=3) == check_frames(scene, seed=3)


def test_the_table(tmp_path):
    lines = frames_table(check_frames(room(tmp_path, Footage(films=film(), late={3: 2}))))
    assert lines[0].split("  ")[0] == "camera"
    assert len(lines) == 1 + SIZE.num_cameras
    assert lines[4].split()[:2] == ["cam03", "+2.0"]
    assert lines[4].split()[3:7] == ["-"] * 4


def test_a_black_camera(tmp_path):
    warning, *others = check_frames(room(tmp_path, spoilt(2, lambda image: image * 0))).warnings
    assert [line.split(";")[0] for line in others] == [
        "repeats its frames while the others move: cam02 (100% of its frames)"
    ]
    assert warning.startswith("shows one colour only: cam02 (value 0 of 255); look at its footage")


def test_a_camera_that_repeats_a_frame(tmp_path):
    films = film()
    films[3] = np.repeat(films[3][:1], len(films[3]), axis=0)
    (warning,) = check_frames(room(tmp_path, Footage(films=films))).warnings
    assert warning.startswith("repeats its frames while the others move: cam03 (100% of its frames); look at")


def test_a_camera_whose_offset_grows_is_not_told_to_cut_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(frames_checks, "WINDOW", 24)
    films = film()
    index = np.arange(len(films[3]))
    films[3] = films[3][np.clip(np.where(index < FIRST + 20, index - 1, index - 6), 0, None)]
    (warning,) = check_frames(room(tmp_path, Footage(films=films), frames=48)).warnings
    assert "in step with the other cameras: 1.0 frames behind at the clip's begin, 5.9 frames behind at its" in warning
    assert "cut the first" not in warning
