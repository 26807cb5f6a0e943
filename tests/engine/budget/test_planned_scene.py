"""The commands of a plan: what they ask of an expert's training, which reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.budget.plan import Step
from engine.budget.planned_scene import _expert_words
from engine.settings.training.recipe import parse_setting
from engine.settings.training.train_expert_reading import read_expert_settings
from experts import TRAINABLE


@pytest.mark.parametrize("iterations", [100, 900])  # of 1,000 that are of use
@pytest.mark.parametrize("name", TRAINABLE)
def test_networks_learn_as_in_the_trials(name: str, iterations: int, tmp_path: Path) -> None:
    training, key = TRAINABLE[name].training, TRAINABLE[name].key
    step = Step(step=f"expert_{key}", expert=name, iterations=iterations, longest=1000, gaussians=50)
    words = [key, f"--source_path={tmp_path}", f"--model_path={tmp_path / 'model'}", *map(str, _expert_words(step))]
    config = read_expert_settings(words, prog="moegs.py train-expert", description="")
    assert config.recipe.preset == ("auto" if iterations == 900 else "fast")
    tried = getattr(training.presets["fast_n3v"].recipe, "networks", None)
    assert dict(map(parse_setting, config.recipe.set)) == ({} if tried is None else {"networks": tried})
