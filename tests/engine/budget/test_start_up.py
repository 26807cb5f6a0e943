"""The start of a command, tried in a process of its own."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

import engine.budget.making
from engine.budget.choice import SceneTrial
from engine.budget.making import Trials
from engine.budget.start_up import try_start_up
from engine.settings.training.run import DeviceConfig


def test_a_command_starts_with_its_packages_and_its_device() -> None:
    begun = perf_counter()
    started = try_start_up(DeviceConfig(device="cpu"))
    assert 0 < started.device < started.seconds <= perf_counter() - begun
    assert started.packages > 0.2  # PyTorch alone takes longer


def test_the_check_of_the_footage_is_counted_as_a_part_of_each_command(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]

    def checked(scene: object) -> None:
        clock[0] += 7.0

    monkeypatch.setattr(engine.budget.making, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(engine.budget.making, "warn_of_frames", checked)
    nothing: Any = None  # neither settings nor a scene are needed
    trials = Trials(nothing, nothing, nothing, SceneTrial(command=5.0, frames=2))
    assert trials.check_footage() == 7.0
    assert trials.command == SceneTrial(command=12.0, frames=2)
