"""The times of a whole command."""

from __future__ import annotations

import re

import numpy as np
import pytest
from moegs_rasterizer.random_scenes import turned_camera

from benchmarks.whole_command import command
from benchmarks.whole_command.command import moving_pattern, poses_of
from scenes.calibration.poses_bounds import read_poses_bounds


def test_every_phase_has_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--device", "cpu", "--gaussians", "40", "--width", "64", "--height", "48", "--frames", "2"]
    assert command.main([*size, "--", "--save_img", "--constant_frames", "1"]) == 0
    first, line = capsys.readouterr().out.splitlines()[-2:]
    assert first == "E4, 40 Gaussians each, 64x48 px, 2 frames"
    seconds = {name: float(number) for name, number in re.findall(r"([a-z][a-z ,A-Z]*) ([\d.]+)(?: s)?(?:;|,|$)", line)}
    phases = [seconds[name] for name in ("imports", "loading", "decoding", "rendering")]
    assert min(phases) > 0 and seconds["whole command"] == pytest.approx(sum(phases), abs=0.003)
    slower = max(seconds["images and scores alone"], seconds["videos and PNGs alone"])
    half = 0.0005  # of the last printed digit, which is much of so few frames
    least, most = (seconds["rendering"] - half) / (slower + half), (seconds["rendering"] + half) / (slower - half)
    assert least - 10 * half <= seconds["rendering over the slower"] <= most + 10 * half  # a digit less


def test_what_cannot_be_measured_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--frames", "0"])
    assert "--frames is 0: give 1 to 300" in capfd.readouterr().err


def test_cameras_are_read_back_from_their_rows(tmp_path) -> None:
    camera = turned_camera(64, 48)
    np.save(tmp_path / "poses_bounds.npy", poses_of([camera]))
    read = read_poses_bounds(tmp_path / "poses_bounds.npy", ["cam00"])["cam00"]
    assert np.allclose(read.world_to_camera, camera.world_to_camera, atol=1e-5)
    assert (read.fx, read.width, read.height) == pytest.approx((camera.fx, 64, 48))


def test_the_pattern_moves() -> None:
    first, second = moving_pattern(64, 48, 2)
    assert first.shape == (48, 64, 3) and first.dtype == np.uint8
    assert (
        np.abs(first.astype(int) - second)[:, :32].mean() > 1 and np.abs(first.astype(int) - second)[:, 32:].mean() > 1
    )
