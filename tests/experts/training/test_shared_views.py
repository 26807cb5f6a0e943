"""Experts trained on two ranks: the Gaussians of one process with the same batch, the same bits on both ranks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from common import ranks
from common.maths.tensors import tensors_hash
from experts import EXPERTS, TRAINABLE
from experts.ed3dgs.frame_sampler import FIRST_ERROR
from experts.stg.recipe import Guidance
from experts.training.generalisation.settings import Generalisation
from experts.training.recipes.recipe import Rate, Recipe, recipe_for_ranks
from tests.experts.training.small_views import train
from tests.experts.training.test_generalisation import trainer_of
from tests.on_ranks import ends_of, on_ranks

LAST = 12
MOST = Generalisation(dropout=0.2, moment_opacity=1e-3, opacity=1e-3)
CHANGES: dict[str, dict[str, Any]] = {
    "STG": {"guidance": Guidance(start=2, stop=LAST, apart=1, choose_below=2.0, sample_below=2.0)},
    "Ex4DGS": {"prune_by_error": True},
}


def trained(name: str) -> dict[str, Any]:
    trainer = trainer_of(name, MOST, batch=2, iterations=LAST, background="random", **CHANGES.get(name, {}))
    numbers = [(done.loss, done.psnr) for done in train(trainer)][-1]
    state = trainer.state()
    return {
        "state": state,
        "numbers": numbers,
        "hash": tensors_hash(dict(trainer.model.state_dict())),
        "announced": len(trainer.views.announced),  # type: ignore[attr-defined]
    }


def close(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Share of numbers that agree but for rounding, which Adam makes large where gradients are nearly nothing."""
    assert found.shape == expected.shape
    return float(torch.isclose(found, expected, atol=1e-3, rtol=1e-3).float().mean()) if found.numel() else 1.0


def test_two_ranks_have_the_gaussians_of_one_process_and_of_each_other():
    alone = {name: trained(name) for name in TRAINABLE}  # first: the ranks are children of a process that is warm
    both = on_ranks(lambda: {name: trained(name) for name in TRAINABLE})
    for name in TRAINABLE:
        one, (first, second) = alone[name], [rank[name] for rank in both]
        assert first["hash"] == second["hash"], name
        assert first["numbers"] == second["numbers"]
        assert first["numbers"] == pytest.approx(one["numbers"], rel=1e-3), name
        expected, found = one["state"], first["state"]
        assert torch.equal(found["random"], expected["random"]), name
        for parameter, values in expected["parameters"].items():
            assert close(found["parameters"][parameter], values) > 0.95, (name, parameter)
        statistics = (each["statistics"] for each in (found, second["state"], expected))
        for mine, other, theirs in zip(*statistics, strict=True):
            assert all(torch.equal(mine[row], other[row]) for row in mine), name
            assert close(mine["seen"], theirs["seen"]) > 0.95, name
        assert sorted(found["sampler"]) == sorted(expected["sampler"])
    stg, errors = both[0]["STG"]["state"], both[0]["E-D3DGS"]["state"]["sampler"]["errors"]
    assert stg["guided"]["chosen"] == [] and bool((errors < FIRST_ERROR).any())  # guided sampling has happened


def test_ranks_need_an_image_each():
    def train_one() -> None:
        next(train(trainer_of("4DGaussians", Generalisation(), batch=1)))

    said = "".join(each.said for each in ends_of(train_one))
    assert "4DGaussians: 2 ranks, and an iteration has 1 image: start fewer, or give --batch" in said


def test_ranks_shorten_a_recipe():
    recipe = Recipe(iterations=1000, rate_iterations=1000, batch=2, rates={"a": Rate(first=1.0)}, sh_every=100)
    shared = recipe_for_ranks(recipe, 4)
    assert (shared.iterations, shared.rate_iterations, shared.sh_every, shared.batch) == (250, 250, 25, 8)
    assert shared.rates_times == pytest.approx(2.0) and shared.rates == recipe.rates
    freetime = EXPERTS["FreeTime"].training.presets["n3v"].recipe
    assert recipe_for_ranks(replace(freetime, rates_by_batch=True), 4).rates_times == 1.0
    assert ranks.count() == 1
