"""Trials with round numbers, in the place of those of a machine."""

from __future__ import annotations

from dataclasses import replace

from engine.budget.measured import ExpertTrial, Line, MixtureTrial, SceneTrial

SCENE = SceneTrial(command=5.0, frames=100)


def expert(name: str = "FreeTime", key: str = "freetime", *, seconds: float = 0.01) -> ExpertTrial:
    """An expert of 100,000 pixels: 10 ms an iteration with no Gaussians, twice that with 50,000; 100 bytes each."""
    return ExpertTrial(
        name=name,
        key=key,
        models=1,
        fast=12000,
        published=30000,
        start=10_000,
        grows_until=0.5,
        pixels=100_000,
        usual=1_000_000,
        iteration=Line(base=seconds, each=seconds / 50_000),
        memory=Line(base=1e9, each=2e4),
        files=Line(base=1e6, each=100.0),
        overhead=10.0,
    )


def mixture() -> MixtureTrial:
    """A router of 10 ms an iteration, and of 50 ms a scored frame."""
    return MixtureTrial(
        gaussians=50_000,
        iteration=0.01,
        frame=0.05,
        opening=5.0,
        first_frame=2.0,
        memory=1.5e9,
        head_bytes=10_000,
    )


def on_cpu(trial: ExpertTrial) -> ExpertTrial:
    """The same without a GPU."""
    return replace(trial, memory=None)
