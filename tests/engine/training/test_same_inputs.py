"""A training goes on with the frames, cameras and start points that it began with, wherever they lie now."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.runs.saved.scene_record import scene_marks
from engine.settings.training.recipe import difference
from engine.training.expert import facts
from engine.training.expert.task import ExpertTask
from scenes import SceneOptions, load_scene
from tests.engine.expert_scene import FRAMES, Killed, kill, run, write_film
from tests.scenes.scene_folders import Rig, write_n3v_scene, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film"))


def other_take(film: Path, folder: Path) -> Path:
    """The same cameras, other images."""
    shutil.copytree(film, folder)
    for video in film.glob("*.mp4"):
        frames = [np.full((32, 40, 3), 40 * frame, np.uint8) for frame in range(FRAMES)]
        write_video(folder / video.name, frames)
    return folder


def moved_camera(film: Path, folder: Path) -> Path:
    """The same images, one camera moved."""
    shutil.copytree(film, folder)
    poses = np.load(folder / "poses_bounds.npy")
    poses[-1, 3] += 0.01
    np.save(folder / "poses_bounds.npy", poses)
    return folder


@pytest.mark.parametrize("finished", [False, True])
def test_resume_is_of_the_same_frames_cameras_and_points(film, tmp_path, monkeypatch, capsys, finished):
    model = tmp_path / "model"
    if finished:
        assert run(film, model, "freetime", "--iterations=6") == 0
    else:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(ExpertTask, "evaluate", kill)
            run(film, model, "freetime", "--iterations=6", "--test_iterations=3")
    cloud = tmp_path / "cloud.npz"
    positions = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
    np.savez(cloud, xyz=positions, rgb=np.full((50, 3), 0.5, np.float32))
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file() and path.suffix != ".lock"}
    for arguments, told in (
        ([f"--source_path={other_take(film, tmp_path / 'take')}"], "footage: "),
        ([f"--source_path={moved_camera(film, tmp_path / 'moved')}"], "cameras: "),
        ([f"--points={cloud}"], "start points: None, now "),
        (["--max_points=50"], "max_points: 60, now 50"),
        (["--resize_filter=box"], "resize_filter: bilinear, now box"),
    ):
        assert run(film, model, "freetime", *arguments, "--iterations=6", "--resume") == 2, arguments
        said = capsys.readouterr().err
        assert "saved with other settings" in said and told in said, said
    after = {path: path.read_bytes() for path in model.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert after == before
    copied = tmp_path / "copied" / "film"
    shutil.copytree(film, copied)
    assert run(copied, model, "freetime", "--iterations=6", "--resume") == 0, "the same scene elsewhere"


def test_a_training_that_did_not_note_its_footage_is_warned_of_elsewhere(film, tmp_path, monkeypatch, capsys):
    model = tmp_path / "model"
    with monkeypatch.context() as patch:
        patch.setattr(facts, "scene_marks", lambda scene: {})
        patch.setattr(facts, "ADDED", ())
        assert run(film, model, "freetime", "--iterations=6") == 0
    assert run(film, model, "freetime", "--iterations=6", "--resume") == 0
    assert "did not note" not in capsys.readouterr().err
    take = other_take(film, tmp_path / "take")
    assert run(take, model, "freetime", "--iterations=6", "--resume") == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "did not note its footage" in line]
    assert f"trained on {film.absolute()} by a version" in told and f"make sure that {take} is the same scene" in told


def test_another_scene_is_named_before_what_follows_from_it():
    old, new = ({"footage": mark, "cameras": mark, "far": mark, "start points": mark, "seed": 0} for mark in "ab")
    assert difference(old, new, unsaved={}).startswith("cameras: a, now b")
    assert difference(old, new | {"cameras": "a"}, unsaved={}).startswith("footage: a, now b")
    assert difference(old, old | {"far": "b", "start points": "b"}, unsaved={}).startswith("start points: a, now b")


def test_images_of_one_size_are_told_apart(tmp_path):
    write_n3v_scene(tmp_path / "a", Rig(frames=2, width=40, height=32, focal=40.0), pattern="{name}/{frame}.bmp")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for path in (tmp_path / "b" / "cam01").iterdir():
        path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    same, other = (scene_marks(load_scene(tmp_path / name, SceneOptions(cache=tmp_path / "cache"))) for name in "ab")
    assert same["cameras"] == other["cameras"] and same["footage"] != other["footage"]


def test_start_points_that_go_away_during_a_training_do_not_stop_a_save(film, tmp_path, monkeypatch):
    cloud = tmp_path / "cloud.npz"
    positions = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
    np.savez(cloud, xyz=positions, rgb=np.full((50, 3), 0.5, np.float32))
    own = tmp_path / "own"
    shutil.copytree(film, own)
    evaluate = ExpertTask.evaluate

    def without_files(task: ExpertTask, *args: object, **options: object) -> None:
        cloud.unlink(missing_ok=True)
        for video in own.glob("*.mp4"):
            video.unlink()
        evaluate(task, *args, **options)

    monkeypatch.setattr(ExpertTask, "evaluate", without_files)
    settings = (f"--points={cloud}", "--iterations=6", "--test_iterations=3")
    assert run(own, tmp_path / "model", "freetime", *settings) == 0
