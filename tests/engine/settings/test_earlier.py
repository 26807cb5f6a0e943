"""Runs and trainings that were saved before --principal_points existed go on with the principal points they had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engine.runs.saved.loading
import engine.runs.scene
from engine.commands import train
from engine.runs.saved.loading import load_run
from engine.settings.parsing.earlier import unsaved_settings
from engine.settings.training.train_expert_reading import read_expert_settings
from router.novel_views import NovelViews
from tests.engine.expert_scene import arguments, run, write_film
from tests.scenes.scene_folders import write_technicolor_scene
from tests.small_world import random_scene, use_small_world


def test_only_layouts_whose_points_were_moved_are_centred(tmp_path):
    write_technicolor_scene(tmp_path / "birthday")
    technicolor = str(tmp_path / "birthday")
    centred, kept = {"principal_points": "centred"}, {"principal_points": "kept"}
    assert unsaved_settings({"principal_points": "kept", "loader": "neural3dvideo"}) == {}
    assert unsaved_settings({"loader": "neural3dvideo"}, layout="technicolor") == centred
    assert unsaved_settings({"loader": None}, layout="technicolor") == kept
    assert unsaved_settings({"loader": None, "source_path": technicolor}) == kept
    assert unsaved_settings({"source_path": str(tmp_path / "gone")}) == centred


@pytest.fixture
def asked(tmp_path, monkeypatch) -> tuple[list[str], list[str]]:
    """Arguments of a training, and what every load of its scene asks of principal points."""
    given, choices = use_small_world(monkeypatch, tmp_path), []

    def load_scene(source, options):
        choices.append(options.principal_points)
        return random_scene(tmp_path)

    monkeypatch.setattr(engine.runs.scene, "load_scene", load_scene)
    return [*given, "--iterations=1", "--test_iterations", f"--save_path={tmp_path / 'out'}"], choices


def forget(config: Path) -> None:
    content = json.loads(config.read_text())
    del content["principal_points"]
    config.write_text(json.dumps(content))


def test_a_run_saved_before_the_rules_for_novel_views_has_none(tmp_path, asked, monkeypatch):
    flags, _ = asked
    config = tmp_path / "out" / "config.json"
    assert train.main("E3", flags) == 0
    run = load_run(tmp_path / "out")
    assert run.novel.culling is not None and run.novel.coverage_guard
    content = json.loads(config.read_text())
    for name in ("novel_near", "coverage_guard", "fill_holes"):
        del content[name]
    config.write_text(json.dumps(content))
    said: list[str] = []
    monkeypatch.setattr(engine.runs.saved.loading.logger, "info", lambda text, *values: said.append(text % values))
    assert load_run(tmp_path / "out").novel == NovelViews()
    assert "saved before there were rules for novel views" in " ".join(said)
    assert load_run(tmp_path / "out", overrides={"novel_near": 0.5}).novel.culling.near == 0.5
    config.write_text(json.dumps(content | {"novel_near": None, "coverage_guard": "on"}))
    run = load_run(tmp_path / "out")
    assert run.novel.culling is not None and run.novel.coverage_guard


def test_a_new_run_keeps_them_and_an_earlier_one_stays_centred(tmp_path, asked):
    flags, choices = asked
    out = tmp_path / "out"
    assert train.main("E3", flags) == 0
    load_run(out)
    assert choices == ["kept", "kept"]
    forget(out / "config.json")
    load_run(out)
    assert train.main("E3", ["--quiet", f"--save_path={out}", "--resume", "--iterations=2"]) == 0
    assert choices[2:] == ["centred", "centred"]
    assert json.loads((out / "config.json").read_text())["principal_points"] == "centred"
    assert train.main("E3", [*flags, "--overwrite", "--principal_points=centred"]) == 0
    load_run(out)
    assert choices[4:] == ["centred", "centred"]


def test_an_earlier_training_of_an_expert_stays_centred(tmp_path):
    film, model = write_film(tmp_path), tmp_path / "model"
    assert run(film, model, "4dgaussians", "--iterations=1") == 0

    def resumed(*more: str) -> str:
        given = ["4dgaussians", f"--model_path={model}", "--resume", *more]
        return read_expert_settings(given, prog="", description="").data.principal_points

    assert resumed() == "kept"
    forget(model / "train_expert_config.json")
    assert resumed() == "centred"
    assert resumed("--principal_points=kept") == "kept"
    fresh = read_expert_settings(arguments(film, model, "4dgaussians"), prog="", description="")
    assert fresh.data.principal_points == "kept"
