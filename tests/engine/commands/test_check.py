"""`moegs.py check`: right scenes and experts pass; mistakes give exit code 1 and a message with the right value."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import moegs
from engine.runs.saved.loading import load_run, trained_config
from scenes import SceneOptions, load_scene
from tests.engine.expert_scene import write_film
from tests.small_world import use_small_world

EXPERTS = ("Ex4DGS", "E-D3DGS", "STG", "4DGaussians")


@pytest.fixture
def film(tmp_path) -> Path:
    return write_film(tmp_path / "film")


def table_row(output: str, name: str) -> list[str]:
    """The last row of that name: trainings come before the verdict."""
    return [line.split() for line in output.splitlines() if line.split()[:1] == [name]][-1]


def test_a_scene_without_faults(film, capsys):
    assert moegs.main(["check", str(film), "--quiet"]) == 0
    output = capsys.readouterr().out
    assert output.endswith("no faults found\n")
    assert any(line.split()[:3] == ["cam00", "6", "40x32"] for line in output.splitlines())
    assert table_row(output, "Ex4DGS")[:3] == ["Ex4DGS", "40,000", "570,000"]
    assert table_row(output, "STG")[:3] == ["STG", "30,000", "170,000"]


def test_two_cameras_of_one_pose_are_a_fault(film, capsys):
    poses = np.load(film / "poses_bounds.npy")
    poses[1] = poses[2]
    np.save(film / "poses_bounds.npy", poses)
    assert moegs.main(["check", str(film), "--quiet"]) == 1
    assert "cam01 and cam02 have the same pose, which two cameras cannot" in capsys.readouterr().err


def test_experts_that_do_not_show_the_scene(tmp_path, monkeypatch, capsys):
    use_small_world(monkeypatch, tmp_path)
    folders = [f"{name}={tmp_path / 'models' / name}" for name in ("Ex4DGS", "4DGaussians")]
    assert moegs.main(["check", str(tmp_path), *folders, "--quiet"]) == 1
    streams = capsys.readouterr()
    assert "no expert fits the frames (Ex4DGS " in streams.err
    assert table_row(streams.out, "Ex4DGS")[3] == "0.0%" and streams.out.endswith("1 warning, see above\n")


def test_mistakes_in_the_arguments_are_named(film, tmp_path, capsys):
    def error(*arguments: str) -> str:
        assert moegs.main(["check", *arguments]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    assert "missing: SCENE" in error()
    assert "no such folder" in error(str(tmp_path / "none"))
    assert "--test_cameras has no value: name one camera or more" in error(str(film), "--test_cameras")
    assert "--start_timestamp is -1: frames are counted from 0" in error(str(film), "--start_timestamp=-1")
    assert f"FOLDER {tmp_path / 'typo'}: no such folder" in error(str(film), str(tmp_path / "typo"))
    assert f"STG={tmp_path / 'typo'}: no such folder" in error(str(film), f"STG={tmp_path / 'typo'}")
    assert "no expert's files are recognised there; give NAME=" in error(str(film), str(tmp_path))
    models = ["--expert_frames", "STG=3"]
    assert "--expert_frames STG=3: NAME=N expected, and no expert here takes it" in error(str(film), *models)


def test_a_scene_that_cannot_be_written_needs_a_cache(film, tmp_path, monkeypatch, capsys):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != film and access(path, mode))
    assert moegs.main(["check", str(film), "--quiet"]) == 2
    assert f"error: {film} cannot be written: give --cache_path" in capsys.readouterr().err
    assert moegs.main(["check", str(film), "--quiet", f"--cache_path={tmp_path / 'cache'}"]) == 0


def links(scene: Path, folder: Path, order: Callable[[np.ndarray], np.ndarray] = lambda rows: rows) -> Path:
    """A scene of the same videos, with its rows of poses_bounds.npy in another order."""
    folder.mkdir()
    for video in scene.glob("cam*.mp4"):
        (folder / video.name).symlink_to(video)
    np.save(folder / "poses_bounds.npy", order(np.load(scene / "poses_bounds.npy")))
    return folder


@pytest.fixture
def kitchen(shared, tmp_path) -> Callable[..., int]:
    """Checks kitchen_tiny, or another folder, with genuine experts; returns the exit code."""
    scene = shared("data/kitchen_tiny")

    def check(*more: str, root: Path = scene, experts: Sequence[str] = EXPERTS) -> int:
        models = [str(shared("reference/experts") / name / "kitchen_tiny") for name in experts]
        return moegs.main(["check", str(root), *models, f"--cache_path={tmp_path / 'cache'}", "--quiet", *more])

    return check


@pytest.mark.slow
def test_genuine_experts_and_the_worst_mistakes(kitchen, shared, tmp_path, capsys):
    assert kitchen() == 0
    output = capsys.readouterr().out
    psnr = {name: float(table_row(output, name)[1]) for name in EXPERTS}
    assert psnr == pytest.approx({"Ex4DGS": 22.79, "E-D3DGS": 22.92, "STG": 22.50, "4DGaussians": 24.88}, abs=0.1)
    assert table_row(output, "4DGaussians")[-2:] == ["300", "frames"]

    assert kitchen("--near", "4", experts=["Ex4DGS"]) == 1  # as a JSON config of the paper has it
    streams = capsys.readouterr()
    assert "Ex4DGS reaches 10.1 dB" in streams.err and "culls 81.9% of the Gaussians in view" in streams.err
    assert "it reaches 22.8 dB" in streams.err

    assert kitchen("--duration", "60", "--expert_frames", "4DGaussians=60", experts=["4DGaussians"]) == 1
    assert "trained on 60 frames; 300 fit better by 4.0 dB: give --expert_frames 4DGaussians=300" in (
        capsys.readouterr().err
    )

    rotated = links(shared("data/kitchen_tiny"), tmp_path / "kitchen_tiny", lambda rows: np.roll(rows, -1, axis=0))
    assert kitchen(root=rotated, experts=["4DGaussians"]) == 1
    assert "the pose of cam01 shows the image of cam02, the pose of cam02 shows the image of cam03" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
def test_the_clip_length_that_a_training_finds_is_the_renderings(shared, tmp_path, capsys):
    models, scene = shared("reference/experts"), shared("data/kitchen_tiny")
    folders = [f"--expert={name}={models / name / 'kitchen_tiny'}" for name in ("Ex4DGS", "4DGaussians")]
    cut = tmp_path / "cut"  # footage of which 100 frames were kept: the model's 300 are not known from it
    write_first_frames(scene, cut, 100)
    places = [f"--source_path={cut}", f"--save_path={tmp_path / 'out'}", "--iterations=1", "--test_iterations"]
    assert moegs.main(["train", *places, *folders, "--quiet"]) == 0
    assert "4DGaussians: trained on 300 frames, found by rendering" in capsys.readouterr().err
    assert trained_config(tmp_path / "out").experts.expert_frames == ("4DGaussians=300",)
    assert load_run(tmp_path / "out", needed="none").experts[1].num_frames == 300


def write_first_frames(scene: Path, folder: Path, count: int) -> None:
    """A scene of images of the first frames of another one's videos."""
    options = SceneOptions(cache=folder.parent / "whole", duration=count, progress=False)
    whole = load_scene(scene, options)
    for index, view in enumerate(whole.views):
        (folder / view.name).mkdir(parents=True)
        for frame in range(count):
            image = Image.fromarray(whole.frames.read(index, frame))
            image.save(folder / view.name / f"{frame:06d}.png", compress_level=0)
    np.save(folder / "poses_bounds.npy", np.load(scene / "poses_bounds.npy"))
