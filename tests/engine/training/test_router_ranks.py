"""The router's training on several ranks: that of one process with as large a batch, saved and resumed by rank 0."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch

import engine.training.router.task
from common import ranks
from engine.commands import train
from engine.runs.saved.checkpoint import TENSORS
from engine.settings.training.run import TrainingConfig
from engine.training.curve import read_curve
from engine.training.router.schedule import make_optimiser, reached, set_router_rates
from router import Router
from tests.on_ranks import ends_of
from tests.small_world import use_small_world

LAST = 20
QUICK = ["--iterations", str(LAST), "--save_iterations", "8", "--test_iterations", "20", "--featuret_lr", "0.5"]


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    flags = use_small_world(monkeypatch, tmp_path)
    return [*flags[1:], *QUICK]  # without --quiet


def trained(arguments: list[str], folder, *more: str) -> list[str]:
    return [*arguments, f"--save_path={folder}", *more]


def tensors(folder, iteration: int) -> bytes:
    return (folder / "router" / f"iteration_{iteration}" / TENSORS).read_bytes()


def scores(folder) -> list[dict[str, object]]:
    facts = json.loads((folder / "test" / f"itrs_{LAST}" / "metrics.json").read_text())
    return [{**frame, "seconds": None} for frame in facts["per_frame"]]


def test_two_ranks_train_as_one_process_with_twice_the_batch(tmp_path, arguments):
    one, two = tmp_path / "one", tmp_path / "two"
    assert train.main("E3", trained(arguments, one, "--batch", "2")) == 0
    first, second = ends_of(lambda: train.main("E3", trained(arguments, two)), is_command=True)
    assert (first.value, second.value, second.said) == (0, 0, ""), first.said + second.said
    assert "2 ranks: 2 images a step, learning rates times 1.41" in first.said
    for iteration in (8, LAST):
        assert tensors(two, iteration) == tensors(one, iteration)  # halves and sums of two are exact
    assert scores(two) == scores(one)
    curves = [[{**row, "seconds": 0.0} for row in read_curve(each / "training.csv")] for each in (one, two)]
    assert curves[0] == curves[1] and [row["iteration"] for row in curves[0]] == [10, LAST]
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in one.iterdir())


def test_an_interrupt_of_one_rank_stops_both_and_is_resumed_on_any_number(tmp_path, arguments, monkeypatch):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train.main("E3", trained(arguments, whole, "--batch", "2")) == 0
    original = engine.training.router.task.set_router_rates

    def interrupting(optimiser, training, iteration):
        if iteration == 8 and ranks.rank() == 1:  # the ranks ask one another after the fifth step, at iteration 10
            os.kill(os.getpid(), signal.SIGTERM)
        original(optimiser, training, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(engine.training.router.task, "set_router_rates", interrupting)
        ended = ends_of(lambda: train.main("E3", trained(arguments, halves)), is_command=True)
    assert [each.value for each in ended] == [130, 130], ended[0].said + ended[1].said
    assert (halves / "router" / "iteration_10" / TENSORS).is_file()
    assert train.main("E3", [f"--save_path={halves}", "--resume", "--batch", "2", "--quiet"]) == 0
    assert tensors(halves, LAST) == tensors(whole, LAST)


def test_ranks_that_differ_save_nothing(tmp_path, arguments, monkeypatch):
    def diverging(optimiser, training, iteration):
        set_router_rates(optimiser, training, iteration)
        if iteration == 6 and ranks.rank() == 1:
            optimiser.param_groups[0]["params"][0].data += 1e-3

    monkeypatch.setattr(engine.training.router.task, "set_router_rates", diverging)
    ended = ends_of(lambda: train.main("E3", trained(arguments, tmp_path / "out")), is_command=True)
    said = "".join(each.said for each in ended)
    assert {2} <= {each.value for each in ended} | {each.code for each in ended}
    assert said.count("error: routers after iteration 8 differ between the ranks (rank 0: ") == 1
    assert not list((tmp_path / "out" / "router").glob("*"))


def test_a_refusal_is_said_once(tmp_path, arguments):
    missing = [each for each in arguments if not each.startswith("--source_path")]
    ended = ends_of(lambda: train.main("E3", trained(missing, tmp_path / "out")), is_command=True)
    assert "".join(each.said for each in ended).count("error: ") == 1


def test_steps_of_several_images_have_rates_of_their_own():
    training = TrainingConfig(featuret_lr=0.2, batch=4)
    optimiser = make_optimiser(Router(["A"], [2]), training)
    rates = {group["name"]: group["lr"] for group in optimiser.param_groups}
    assert rates == pytest.approx({"static": 0.4, "temporal": 0.02, "head": 0.02})
    assert optimiser.param_groups[0]["betas"] == pytest.approx((0.9**4, 0.999**4))
    set_router_rates(optimiser, training, 10_000)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.4 * 0.01)
    assert isinstance(optimiser, torch.optim.RAdam)
    assert [reached(each, start=5, images=4) for each in (3, 5, 6, 9, 10, 20)] == [3, 5, 9, 9, 13, 21]
