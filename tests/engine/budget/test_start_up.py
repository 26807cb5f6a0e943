"""The start of a command, tried in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest

from engine.budget.choice import SceneTrial
from engine.budget.start_up import try_start_up
from engine.budget.trials import by_worth
from engine.budget.trials.by_worth import Trials
from engine.settings.training.run import DeviceConfig
from tests.engine.budget.made_up import expert


def test_a_command_starts_with_its_packages_and_its_device() -> None:
    begun = perf_counter()
    started = try_start_up(DeviceConfig(device="cpu"))
    assert 0 < started.device < started.seconds <= perf_counter() - begun
    assert started.packages > 0.2  # PyTorch alone takes longer
    assert started.late > 0.05  # SciPy and PyTorch's compiler, which no command imports before its training


def test_the_check_of_the_footage_is_counted_as_a_part_of_each_command(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]

    def checked(scene: object) -> None:
        clock[0] += 7.0

    monkeypatch.setattr(by_worth, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(by_worth, "warn_of_frames", checked)
    nothing: Any = None  # neither settings nor a scene are needed
    trials = Trials(nothing, nothing, nothing, SceneTrial(command=5.0, frames=2))
    assert trials.check_footage() == 7.0
    assert trials.command == SceneTrial(command=12.0, frames=2)


def test_a_start_that_looks_at_images_is_told_by_those_that_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_worth, "opening_on_frames", lambda *_: 20.0)
    nothing: Any = None
    trials = Trials(nothing, nothing, nothing, SceneTrial(command=5.0, frames=2))
    known = expert()  # 10 s beside its iterations
    trials._experts = {
        "FreeTime": replace(known, opening_on_black=4.0),
        "Ex4DGS": known,
        "STG": replace(known, opening_on_black=4.0),
    }
    trials.opened_on_frames(["FreeTime", "Ex4DGS"])
    assert [trial.overhead for trial in trials.tried] == [26.0, 10.0, 10.0]
    assert trials.tried[0].opening_on_black is None  # it is not opened again
