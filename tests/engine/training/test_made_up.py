"""A save, or the scoring after it, that a kill cut off is made up for at resume; two trainings do not mix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engine.training.expert.task
import engine.training.router.task
from common.disk.locks import only_one
from engine.commands import train
from engine.training.curve import read_curve
from engine.training.expert.saves import saved_expert_folder, saved_state
from experts.formats.cfg_args import read_cfg_args
from tests.engine.expert_scene import NAMES, Killed, kill, run, write_film
from tests.small_world import use_small_world


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film"))


def scored(model: Path) -> list[int]:
    return [entry["iteration"] for entry in json.loads((model / "train_expert.json").read_text())["history"]]


def test_a_kill_between_state_and_model(film, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(engine.training.expert.task, "save_expert", kill)
        run(film, tmp_path / "model", "stg", "--save_iterations=10")
    assert saved_state(tmp_path / "model")[0] == 10 and not saved_expert_folder(tmp_path / "model", 10).is_dir()
    assert run(film, tmp_path / "model", "stg", "--save_iterations=10", "--resume") == 0
    assert all(saved_expert_folder(tmp_path / "model", number).is_dir() for number in (10, 30))


@pytest.mark.parametrize("expert", NAMES)
@pytest.mark.parametrize("cut", ["save_expert", "held_out_scores"])
def test_what_is_made_up_after_the_last_iteration_is_what_it_would_have_been(film, tmp_path, monkeypatch, expert, cut):
    settings = ("--test_iterations", "10", "30")
    assert run(film, tmp_path / "whole", expert, *settings) == 0
    with monkeypatch.context() as patch, pytest.raises(Killed):
        of_last = [engine.training.expert.task.held_out_scores] if cut == "held_out_scores" else []
        patch.setattr(engine.training.expert.task, cut, lambda *a, **o: of_last.pop()(*a, **o) if of_last else kill())
        run(film, tmp_path / "parts", expert, *settings)
    assert saved_state(tmp_path / "parts")[0] == 30
    assert run(film, tmp_path / "parts", expert, "--resume") == 0
    whole, parts = (json.loads((tmp_path / name / "train_expert.json").read_text()) for name in ("whole", "parts"))
    assert whole["scores"] == parts["scores"] and len(whole["history"]) == 2
    assert [entry["psnr"] for entry in whole["history"]] == [entry["psnr"] for entry in parts["history"]]
    of_format = [read_cfg_args(tmp_path / name) for name in ("whole", "parts")]
    assert of_format[0].get("trained_iterations") == of_format[1].get("trained_iterations")


def test_a_kill_inside_the_evaluation_of_an_expert(film, tmp_path, monkeypatch):
    settings = ("--save_iterations=10", "--test_iterations=10")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(engine.training.expert.task, "held_out_scores", kill)
        run(film, tmp_path / "model", "stg", *settings)
    assert run(film, tmp_path / "model", "stg", *settings, "--resume") == 0
    assert scored(tmp_path / "model") == [10, 30]


def test_a_kill_inside_the_evaluation_of_a_router(tmp_path, monkeypatch):
    given = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--iterations=4"]
    given += ["--save_iterations=2", "--test_iterations", "2", "4", "--test_frames=1"]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(engine.training.router.task, "evaluate_mixture", kill)
        train.main("E3", given)
    assert train.main("E3", [*given, "--resume"]) == 0
    rows = read_curve(tmp_path / "out" / "training.csv")
    assert [row["iteration"] for row in rows if "test_psnr" in row] == [2, 4]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert train.main("E3", [*given, "--resume"]) == 0, "nothing is left to make up"
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_a_second_training_of_a_folder_is_refused_by_name(film, tmp_path, monkeypatch, capsys):
    given = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--iterations=1"]
    with only_one(tmp_path / "out", RuntimeError()), only_one(tmp_path / "model", RuntimeError()):
        assert train.main("E3", given) == 2
        assert capsys.readouterr().err == (
            f"error: {tmp_path / 'out'}: another command writes here; wait for it or end it, or choose another "
            "--save_path\n"
        )
        assert run(film, tmp_path / "model", "stg") == 2
        assert f"{tmp_path / 'model'}: another command writes here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / "model").exists()
