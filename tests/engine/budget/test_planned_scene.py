"""The commands of a plan: what they ask of an expert's training, which reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.budget.plan import Plan, Step, read_plan, write_plan
from engine.budget.planned_scene import _expert_words, jobs_of
from engine.settings.auto import AutoConfig
from engine.settings.training.recipe import parse_setting
from engine.settings.training.train_expert_reading import read_expert_settings
from experts import TRAINABLE
from tests.engine.expert_scene import write_film


@pytest.mark.parametrize("iterations", [100, 900])  # of 1,000 that are of use
@pytest.mark.parametrize("name", TRAINABLE)
def test_networks_learn_as_in_the_trials(name: str, iterations: int, tmp_path: Path) -> None:
    training, key = TRAINABLE[name].training, TRAINABLE[name].key
    step = Step(step=f"expert_{key}", expert=name, iterations=iterations, longest=1000, gaussians=50)
    words = [
        key,
        f"--source_path={tmp_path}",
        f"--model_path={tmp_path / 'model'}",
        *map(str, _expert_words(step, in_tf32=True)),
    ]
    config = read_expert_settings(words, prog="moegs.py train-expert", description="")
    assert config.recipe.preset == ("auto" if iterations == 900 else "fast")
    tried = getattr(training.presets["fast_n3v"].recipe, "networks", None)
    assert dict(map(parse_setting, config.recipe.set)) == ({} if tried is None else {"networks": tried})


@pytest.mark.parametrize("by_earlier_version", [False, True])
def test_a_plan_of_an_earlier_version_keeps_its_commands(by_earlier_version: bool, tmp_path: Path) -> None:
    step = Step(step="expert_ed3dgs", expert="E-D3DGS", iterations=900, longest=1000, gaussians=50)
    path = write_plan(Plan(budget="1h", data_args="", experts=("E-D3DGS",), steps=(step,), in_tf32=True), tmp_path)
    if by_earlier_version:
        content = json.loads(path.read_text())
        del content["in_tf32"]
        path.write_text(json.dumps(content))
    plan = read_plan(tmp_path)
    assert plan is not None
    config = AutoConfig(scene=write_film(tmp_path), output=tmp_path / "out", budget="1h")
    assert ("networks=tf32" not in jobs_of(config, plan)["expert_ed3dgs"].words) is by_earlier_version
