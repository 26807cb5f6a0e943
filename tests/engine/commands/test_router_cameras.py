"""The same cameras are left to the router by the experts' trainings and taken by its own, and others are refused."""

from __future__ import annotations

import json

import pytest

import moegs
from engine.runs.saved.checkpoint import FACTS, checkpoint_folder
from tests.engine.expert_scene import run as train_expert
from tests.scenes.scene_folders import Rig, write_n3v_scene


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Six cameras, of which five are for training, and so one may be the router's."""
    folder = tmp_path_factory.mktemp("rig") / "film"
    names = [f"cam{number:02d}" for number in range(6)]
    write_n3v_scene(folder, Rig(cameras=names, frames=6, width=40, height=32, focal=40.0))
    return folder


def train_router(film, out, *experts) -> int:
    named = [f"--expert=stg={folder}" for folder in experts]
    shared = [f"--source_path={film}", f"--cache_path={film.parent / 'cache'}", f"--save_path={out}"]
    return moegs.main(["train", *shared, *named, "--iterations=2", "--test_iterations", "--router_cameras=1"])


def test_experts_leave_the_cameras_that_the_router_takes(film, tmp_path, capsys):
    left, all_of_them = tmp_path / "left", tmp_path / "all"
    assert train_expert(film, left, "stg", "--router_cameras=1") == 0
    assert train_expert(film, all_of_them, "stg") == 0
    settings = json.loads((left / "train_expert.json").read_text())["settings"]
    (own,) = settings["router cameras"]
    assert sorted([own, *settings["training cameras"]]) == ["cam01", "cam02", "cam03", "cam04", "cam05"]
    assert "router cameras" not in json.loads((all_of_them / "train_expert.json").read_text())["settings"]

    assert train_router(film, tmp_path / "mixed", left, all_of_them) == 2
    refusal = f"{all_of_them}: STG-2 was trained on {own}, which --router_cameras 1 leaves to the router; train it with"
    assert refusal in capsys.readouterr().err
    assert train_router(film, tmp_path / "out", left, left) == 0
    facts = json.loads((checkpoint_folder(tmp_path / "out") / FACTS).read_text())
    assert facts["scene"]["router"] == [own] and facts["judge"]["camera"] == own and facts["judge"]["frames"] == 6
    assert facts["scene"]["train"] == settings["training cameras"]


def test_too_many_are_refused_by_both_trainings(film, tmp_path, capsys):
    assert train_expert(film, tmp_path / "expert", "stg", "--router_cameras=2") == 2
    assert "--router_cameras is 2, and the scene has 5 training cameras: at most a third" in capsys.readouterr().err
    assert train_expert(film, tmp_path / "expert", "stg", "--router_cameras=-1") == 2
    assert "--router_cameras is -1: give 0 or more" in capsys.readouterr().err


def test_an_expert_goes_on_with_the_cameras_it_began_with(film, tmp_path, capsys):
    assert train_expert(film, tmp_path / "expert", "stg", "--router_cameras=1") == 0
    assert train_expert(film, tmp_path / "expert", "stg", "--resume", "--router_cameras=0") == 2
    assert "saved with other settings (router cameras" in capsys.readouterr().err


def test_run_all_gives_both_trainings_the_number(film, tmp_path, capsys):
    words = ["run-all", str(film), f"--output={tmp_path / 'all'}", "--dry_run", "--skip", "prepare"]
    assert moegs.main([*words, "--data_args=--router_cameras 1"]) == 0
    shown = capsys.readouterr().out
    trainings = [line for line in shown.splitlines() if " train-expert " in line or "train_E4.py" in line]
    assert len(trainings) == 5 and all("--router_cameras 1" in line for line in trainings)
