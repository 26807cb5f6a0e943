"""Budgets that no run fits: what is told of them, and when the trials end."""

from __future__ import annotations

import logging
from dataclasses import replace
from time import perf_counter

import pytest

from engine.budget.choice import choose, least_seconds
from engine.budget.clock import Clock
from engine.budget.measured import ExpertTrial
from engine.budget.too_small import too_small
from engine.budget.trials import by_worth
from engine.budget.trials.by_worth import Trials
from engine.budget.wanted import Budget
from engine.errors import ConfigError
from tests.engine.budget.made_up import SCENE, expert, mixture, on_cpu

LEAST = 17.1  # seconds of 120 iterations with 2,000 to 25,000 Gaussians, of 15 s beside them, and a little more


def said(left: Budget, *tried: ExpertTrial, prepared: float = 0.0) -> str:
    return str(too_small("asked", tried, SCENE, left, gone=20.0, prepared=prepared))


def test_the_shortest_training_is_the_least_that_is_chosen() -> None:
    least = least_seconds(expert(), SCENE, Budget())
    assert least is not None and 16 < least < LEAST
    assert choose([expert()], None, SCENE, Budget(seconds=least - 0.01)) is None
    assert choose([expert()], None, SCENE, Budget(seconds=least + 0.01)) is not None
    assert least_seconds(expert(), SCENE, Budget(run_bytes=1.1e6)) is None


def test_a_time_that_is_too_short_is_told_with_one_that_holds_the_shortest_training() -> None:
    slow = replace(expert("STG", "stg"), overhead=100.0)
    text = said(Budget(seconds=2.0), slow, expert())
    assert "start and trials took 20 s, and the shortest training of FreeTime takes 17 s: give 50s or more" in text
    text = said(Budget(seconds=2.0), slow, expert(), prepared=15.0)
    assert "start and preparation and trials took 20 s" in text and "give 30s or more" in text and "is kept" in text
    assert "start took 20 s, and a trial and the start of a training take 8 s: give 40s or more" in said(
        Budget(seconds=2.0)
    )
    assert "the shortest training of STG takes 2 min: give 3min or more" in said(Budget(seconds=2.0), slow)


def test_the_part_that_is_too_small_is_named() -> None:
    assert said(Budget(seconds=900.0, run_bytes=1e6), expert()).count("give ") == 2  # with the lower resolution
    small = replace(expert(), pixels=160 * 120)
    assert "resolution" not in said(Budget(seconds=900.0, run_bytes=1e3), small)
    assert "no run is so small, one of FreeTime the smallest: give 1.2MB or more" in said(
        Budget(seconds=900.0, run_bytes=1e6), expert()
    )
    assert "no training takes so little memory, FreeTime the least: give 1.1GB or more" in said(
        Budget(gpu_bytes=1e9), expert()
    )
    assert "GB" not in said(Budget(run_bytes=1e6), on_cpu(expert()))
    assert "the lines above say why none could be tried" in said(Budget(seconds=900.0))


@pytest.mark.parametrize(("seconds", "names"), [(7.0, []), (9.0, ["FreeTime"]), (None, ["FreeTime", "Ex4DGS"])])
def test_trials_end_where_the_time_holds_no_other(
    seconds: float | None, names: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def tried(config, spec, *_, **__):
        nonlocal seconds
        seconds = None if seconds is None else seconds - 1.1  # 7.9 are less than 5 to start and 3 of a trial
        return replace(expert(spec.name, spec.key), usual=0), None  # it fits nothing

    monkeypatch.setattr(by_worth, "try_expert", tried)
    monkeypatch.setattr(by_worth, "WORTH", {"FreeTime": 0.0, "Ex4DGS": 0.0})
    trials = Trials(None, None, None, SCENE)
    assert trials.choose(lambda: Budget(seconds=seconds)) == ()
    assert [each.name for each in trials.tried] == names
    told = [f"{name} is left out: its shortest training does not fit the budget" for name in names]
    assert [line for line in caplog.messages if "left out" in line] == told


def test_an_expert_that_shortens_the_trainings_too_much_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(by_worth, "try_expert", lambda _, spec, *__, **___: (expert(spec.name), None))
    monkeypatch.setattr(by_worth, "try_mixture", lambda *_: mixture())
    monkeypatch.setattr(by_worth, "WORTH", {"FreeTime": 0.0, "Ex4DGS": 0.25})
    caplog.set_level(logging.INFO)
    assert Trials(None, None, None, SCENE).choose(lambda: Budget(seconds=140.0)) == ("FreeTime",)
    # 67 s of starts, scores and checks; fast takes 342 s for both experts and 20 s for the router: 73 s are 20 % of it
    reason = "with it trainings would have 20% of the iterations of the preset fast, less than 25%"
    assert caplog.messages[-1] == f"Ex4DGS is left out: {reason}"


def test_an_expert_that_does_not_open_on_the_frames_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def opened(config, spec, *_):
        if spec.name == "Ex4DGS":
            raise ConfigError("its start finds nothing in these frames")
        return 40.0

    monkeypatch.setattr(by_worth, "try_expert", lambda _, spec, *__, **___: (blind(spec), None))
    monkeypatch.setattr(by_worth, "try_mixture", lambda *_: mixture())
    monkeypatch.setattr(by_worth, "opening_on_frames", opened)
    trials = Trials(None, None, None, SCENE)
    names = trials.choose(lambda: Budget(seconds=10_000.0))
    assert {"FreeTime", "Ex4DGS"} <= set(names)
    left, _ = trials.opened_on_frames(names)
    assert left == tuple(name for name in names if name != "Ex4DGS")
    assert caplog.messages[-1] == "Ex4DGS cannot be trained: its start finds nothing in these frames"
    with pytest.raises(ConfigError, match="none of Ex4DGS can be trained on the frames"):
        trials.opened_on_frames(["Ex4DGS"])
    assert trials.tried[0].overhead == expert().overhead - 1.0 + 40.0 and trials.tried[0].opening_on_black is None


def blind(spec) -> ExpertTrial:
    """A trial that opened on black frames within a second."""
    return replace(expert(spec.name, spec.key), opening_on_black=1.0)


def test_a_clock_keeps_what_other_work_takes() -> None:
    clock = Clock(budget=Budget(seconds=100.0), begun=perf_counter(), starting=10.0)
    assert 10.0 <= clock.gone() < 11.0
    assert clock.left(kept=20.0).seconds == pytest.approx(97.0 - 10.0 - 20.0, abs=1.0)
    assert clock.left(kept=200.0).seconds == 0.0
    assert Clock(budget=Budget(run_bytes=5.0), begun=0.0, starting=0.0).left() == Budget(run_bytes=5.0)
