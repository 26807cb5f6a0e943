"""Experts trained on several ranks: the Gaussians of one process with the same batch, equal on all ranks."""

from __future__ import annotations

import pytest
import torch

from common import ranks
from engine.training.expert.saves import load_state, saved_state
from experts.training.recipe import Recipe, recipe_for_ranks
from experts.training.trainer import ExpertTrainer
from tests.engine.expert_scene import NAMES, run, write_film
from tests.on_ranks import ends_of

KEYS = tuple(NAMES)
FLAGS = ("--batch=2", "--save_iterations=20", "--test_iterations=10")
# That all that density control knows takes part within 30 iterations.
DENSE = ("--set", "density.start=2", "density.every=5", "density.prune_every=10")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("film"))


def state_of(model, key: str) -> dict:
    newest = saved_state(next(iter(sorted(model.glob("*/training"))), model / "training").parent)
    assert newest is not None
    return load_state(newest[1])["course"]


@pytest.mark.parametrize("key", KEYS)
def test_two_ranks_train_as_one_process_with_the_same_batch(film, tmp_path, key):
    more = () if key == "freetime" else DENSE
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(film, one, key, *FLAGS, *more) == 0
    ended = ends_of(lambda: run(film, two, key, *FLAGS, *more), is_command=True)
    assert [each.value for each in ended] == [0, 0], ended[0].said + ended[1].said
    assert [each.said for each in ended] == ["", ""]
    expected, found = state_of(one, key), state_of(two, key)
    assert torch.equal(found["random"], expected["random"])
    for name, values in expected["parameters"].items():
        assert found["parameters"][name].shape == values.shape, name
        torch.testing.assert_close(found["parameters"][name], values, atol=2e-3, rtol=2e-3, msg=lambda text: f"{name}: {text}")
    for mine, theirs in zip(found["statistics"], expected["statistics"], strict=True):
        assert mine["seen"].sum() == pytest.approx(theirs["seen"].sum(), abs=2)
    assert sorted(path.name for path in two.rglob("*")) == sorted(path.name for path in one.rglob("*"))
