"""The start of a command, tried in a process of its own."""

from __future__ import annotations

from time import perf_counter

from engine.budget.start_up import try_start_up
from engine.settings.training.run import DeviceConfig


def test_a_command_starts_with_its_packages_and_its_device() -> None:
    begun = perf_counter()
    started = try_start_up(DeviceConfig(device="cpu"))
    assert 0 < started.device < started.seconds <= perf_counter() - begun
    assert started.packages > 0.2  # PyTorch alone takes longer
