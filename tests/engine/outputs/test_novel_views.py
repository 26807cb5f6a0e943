from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import engine.outputs.novel_views
from engine.errors import ConfigError
from engine.outputs.novel_views import novel_shots, render_novel_views
from engine.settings.rendering.render import RenderConfig, read_render_settings, variant_of
from engine.settings.rendering.render_checks import check_render_config
from router import ENSEMBLES


def settings(tmp_path: Path, *arguments: str) -> RenderConfig:
    config = read_render_settings(ENSEMBLES["E3"], ["--save_path", str(tmp_path / "save"), "--quiet", *arguments])
    check_render_config(config, ENSEMBLES["E3"])
    return config


def camera_file(folder: Path, frames: list[float | None]) -> str:
    poses = [np.eye(4) for _ in frames]
    cameras = [
        {"world_to_camera": pose.tolist(), "fx": 30 + index, "fy": 30, "cx": 20, "cy": 16, "width": 40, "height": 32}
        | ({} if frame is None else {"frame": frame})
        for index, (pose, frame) in enumerate(zip(poses, frames, strict=True))
    ]
    (folder / "my path.json").write_text(json.dumps(cameras))
    return str(folder / "my path.json")


@pytest.mark.parametrize(
    ("arguments", "frames", "names"),
    [
        (["--y_offset", "1"], [0, 1, 2], ["cam00_00000", "cam00_00001", "cam00_00002"]),
        (["--frames", "1:"], [1, 2], ["cam00_00001", "cam00_00002"]),
        (["--frames", ":2"], [0, 1], ["cam00_00000", "cam00_00001"]),
        (["--freeze_time", "1.5"], [1.5], ["cam00_00000"]),
        (["--freeze_time", "2"], [2], ["cam00_00002"]),
        (["--slow_motion", "2"], [0, 0.5, 1, 1.5, 2], [f"cam00_{index:05d}" for index in range(5)]),
        (
            ["--slow_motion", "4", "--frames", "1:3"],
            [1, 1.25, 1.5, 1.75, 2],
            [f"cam00_{index:05d}" for index in range(5)],
        ),
        (["--slow_motion", "0.5"], [0, 2], ["cam00_00000", "cam00_00002"]),
        (["--trajectory", "spiral"], [0, 1, 2], [f"spiral_{index:05d}" for index in range(3)]),
        (["--trajectory", "orbit", "--freeze_time", "1"], [1, 1, 1], [f"orbit_{index:05d}" for index in range(3)]),
        (
            ["--trajectory", "interpolate", "--slow_motion", "2"],
            [0, 0.5, 1, 1.5, 2],
            [f"interpolate_{index:05d}" for index in range(5)],
        ),
    ],
)
def test_the_frames_that_are_shown(flat_run, tmp_path, arguments, frames, names):
    shots = novel_shots(flat_run.scene, settings(tmp_path, *arguments))
    assert [shot.frame for shot in shots] == frames
    assert [shot.name for shot in shots] == names


def test_interpolation_goes_through_the_training_cameras_alone(flat_run, tmp_path):
    shots = novel_shots(flat_run.scene, settings(tmp_path, "--trajectory", "interpolate"))
    x = [shot.camera.centre[0].item() for shot in shots]
    assert x == pytest.approx([-1, -1.5, -2])  # of cam01 and cam02
    moved = novel_shots(
        flat_run.scene, settings(tmp_path, "--trajectory", "interpolate", "--y_offset", "2", "--focal_mm", "18")
    )
    assert moved[0].camera.centre.tolist() == pytest.approx([-1, -2, 0])
    assert moved[0].camera.fx == 18


def test_cameras_of_a_file_have_frames_of_their_own_or_those_of_the_clip_in_turn(flat_run, tmp_path):
    file = camera_file(tmp_path, [None, None, 0.5, None, None])
    shots = novel_shots(flat_run.scene, settings(tmp_path, "--trajectory", file))
    assert [shot.frame for shot in shots] == [0, 1, 0.5, 0, 1]
    assert [shot.camera.fx for shot in shots] == [30, 31, 32, 33, 34]
    assert shots[4].name == "my path_00004"
    frozen = novel_shots(flat_run.scene, settings(tmp_path, "--trajectory", file, "--freeze_time", "2"))
    assert [shot.frame for shot in frozen] == [2] * 5


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (
            ["--trajectory", "spiral", "--frames", "0:2", "--slow_motion", "2"],
            "trajectory_spiral_frames_0-2_slow_motion_2",
        ),
        (["--freeze_time", "1.5", "--y_offset", "-1"], "y_offset_-1_freeze_time_1.5"),
        (
            ["--trajectory", "orbit", "--novel_near", "0.5", "--coverage_guard", "off"],
            "trajectory_orbit_novel_near_0.5_coverage_guard_off",
        ),
        (["--focal_mm", "35", "--fill_holes", "on"], "focal_mm_35_fill_holes_on"),
        (["--y_offset", "0.1234567"], "y_offset_0.1234567"),
        (["--fill_holes", "on"], ""),  # no novel view: metrics.json says it
    ],
)
def test_results_have_a_folder_of_their_own(tmp_path, arguments, name):
    assert variant_of(settings(tmp_path, *arguments)) == name


def test_files_of_one_name_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = (variant_of(settings(tmp_path, "--trajectory", f"{name}/path.json")) for name in "ab")
    assert re.fullmatch(r"trajectory_path-[0-9a-f]{8}", first) and re.fullmatch(r"trajectory_path-[0-9a-f]{8}", second)
    assert first != second
    assert variant_of(settings(tmp_path, "--trajectory", str(tmp_path / "b" / "path.json"))) == second


@pytest.mark.parametrize("arguments", [["--metrics", "flip"], ["--twin", "STG=again"], ["--maps", "error"]])
def test_scores_are_refused_as_there_are_none(tmp_path, arguments):
    with pytest.raises(ConfigError, match=f"^{arguments[0]}.* compares with recorded frames, and novel views have"):
        check_render_config(settings(tmp_path, "--trajectory", "spiral", *arguments), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "2:2"], "--frames is 2:2: give A:B with A less than B, such as 0:50"),
        (["--frames", "5"], "--frames is 5: give A:B"),
        (["--frames", "0:9"], "--frames is 0:9: .* the clip has 3 frames"),
        (["--freeze_time", "2.5"], "--freeze_time is 2.5: outside of the clip; give 0 to 2"),
        (["--slow_motion", "0"], "--slow_motion is 0.0: give more than 0"),
        (["--slow_motion", "2", "--freeze_time", "0"], "--freeze_time and --slow_motion exclude each other"),
        (["--trajectory", "spirall"], "--trajectory spirall: no such path; did you mean spiral"),
        (["--trajectory", "path.txt"], "give spiral, orbit, interpolate or a .json file"),
    ],
)
def test_unusable_times_and_paths_are_named(flat_run, tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        novel_shots(flat_run.scene, settings(tmp_path, *arguments))


def test_faults_of_a_camera_file_name_the_flag(flat_run, tmp_path):
    file = camera_file(tmp_path, [0, 7])
    with pytest.raises(ConfigError, match=r"--trajectory .*my path.json: \[1\]: frame is 7: outside of the clip"):
        novel_shots(flat_run.scene, settings(tmp_path, "--trajectory", file))
    Path(file).write_text("[{}]")
    with pytest.raises(ConfigError, match=r"--trajectory .*my path.json: \[0\]: world_to_camera is missing"):
        novel_shots(flat_run.scene, settings(tmp_path, "--trajectory", file))


def test_slow_motion_shows_moments_between_frames(flat_run, tmp_path):
    files = render_novel_views(flat_run, settings(tmp_path, "--slow_motion", "2", "--save_img"))
    video = next(path for path in files if path.name == "video_high.mp4")
    with av.open(str(video)) as container:
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert levels == pytest.approx([110, 110.5, 111, 111.5, 112], abs=1.5)
    assert len(list((video.parents[1] / "renders_high").iterdir())) == 5


@pytest.mark.parametrize(("alphas", "warned"), [([0.9, 0.4, 0.8], True), ([0.9, 0.6, 0.8], False)])
def test_images_that_show_little_are_warned_of(flat_run, tmp_path, monkeypatch, caplog, alphas, warned):
    real = engine.outputs.novel_views.mix_camera

    def seen(run, camera, frame, **more):
        mixture = real(run, camera, frame, **more)
        return replace(mixture, alphas=torch.full_like(mixture.gates, alphas[int(frame)]))

    monkeypatch.setattr(engine.outputs.novel_views, "mix_camera", seen)
    with caplog.at_level(logging.WARNING):
        render_novel_views(flat_run, settings(tmp_path, "--y_offset", "1"))
    assert [record.getMessage()[:61] for record in caplog.records] == (
        ["cam00_00001 shows little of the scene (mean opacity 0.40): no"] if warned else []
    )
