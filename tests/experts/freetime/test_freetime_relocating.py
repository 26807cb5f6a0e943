"""FreeTime's training with relocation: dead Gaussians come back to life, and going on is exact."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from experts.freetime.recipe import Relocation
from tests.experts.freetime.test_freetime_training import RECIPE, error, new_trainer
from tests.experts.training.small_views import train


@pytest.mark.parametrize("kind", ["mcmc", "copy", "copies_in_time"])
def test_dead_gaussians_are_moved_and_going_on_is_exact(kind: Any) -> None:
    relocation = Relocation(start=3, stop=35, every=5, most_share=0.2, kind=kind)
    recipe = replace(RECIPE, iterations=40, gate_penalty_from=5, relocation=relocation)
    whole, resumed = new_trainer(recipe), new_trainer(recipe, seed=5)
    before = error(whole.model)
    with torch.no_grad():  # dead at the start: faint ones, and some whose moment left the clip
        whole.model.gaussians.opacity_logits[:40] = -9.0
        whole.model.times[440:460] = -500.0
        whole.model.gates[440:460] = -9.0
    assert int(whole.never_seen().sum()) >= 60
    for step in train(whole):
        if step.iteration == 17:  # between two relocations
            saved = deepcopy(whole.state())
    assert not whole.never_seen()[:40].any() and not whole.never_seen()[440:460].any()
    assert whole.count == 480 and error(whole.model) < before
    resumed.load(saved)
    for _ in train(resumed, start=17):
        pass
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
