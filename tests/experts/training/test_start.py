"""Rigs whose training cameras give no scale."""

from __future__ import annotations

import math

import pytest
import torch

from experts import EXPERTS, TRAINABLE, begin_training
from experts.training.start import TrainingStart, scale_fault
from tests.experts.training.small_views import small_start, small_views

POINTS = torch.tensor([[0.0, 0.0, 3.0], [1.0, 0.0, 4.0], [-1.0, 0.0, 4.0], [0.0, 2.0, 4.0]])


@pytest.mark.parametrize("extent", [0.0, 1e-7, math.nan])
def test_cameras_in_one_place_give_no_scale(extent: float) -> None:
    fault = scale_fault(extent, POINTS)
    assert fault is not None
    assert fault.startswith(f"the training cameras stand in one place (extent {extent:.3g}), so they give no scale")


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_cameras_that_stand_apart_give_a_scale_in_any_unit(unit: float) -> None:
    assert scale_fault(1e-3 * unit, POINTS * unit) is None
    assert scale_fault(1e-6 * unit, POINTS * unit) is not None


@pytest.mark.parametrize("name", TRAINABLE)
def test_no_expert_begins_without_a_scale(name: str) -> None:
    spec = EXPERTS[name]
    preset = spec.training.presets["n3v"]
    start = TrainingStart(points=small_start(), views=small_views(), extent=0.0, network=preset.network)
    with pytest.raises(ValueError, match=r"the training cameras stand in one place \(extent 0\)"):
        begin_training(spec, preset.recipe, start)
