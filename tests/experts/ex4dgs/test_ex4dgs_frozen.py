"""A frozen Ex4DGS model computes once what no frame changes, and gives what a model that learns gives."""

from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch

from experts.ex4dgs import model as ex4dgs
from experts.ex4dgs.model import Ex4DGS
from experts.ex4dgs.motion import KeyframeTimeline, arcs, slerp
from tests.experts.ex4dgs.test_ex4dgs import model


def assert_same(frozen: Ex4DGS, learning: Ex4DGS, frame: float) -> None:
    found, expected = frozen.at(frame), learning.at(frame)
    for field in fields(expected):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b.detach(), atol=1e-6, rtol=1e-6)  # seen: no difference


@pytest.mark.parametrize("interpolation", ["cube", "pchip", "linear"])
@pytest.mark.parametrize("world_scale", [1.0, 4.0])
def test_a_frozen_model_gives_what_one_that_learns_gives(interpolation, world_scale):
    timeline = KeyframeTimeline(duration=40, interpolation=interpolation)
    learning = model(30, 20, timeline=timeline, world_scale=world_scale)
    frozen = copy.deepcopy(learning).requires_grad_(False)
    for frame in (0, 5.5, 18, 30):
        assert_same(frozen, learning, frame)


@pytest.mark.parametrize("name", [name for name, _ in model().named_parameters()])
def test_every_change_is_seen(name):
    learning = model()
    frozen = copy.deepcopy(learning).requires_grad_(False)
    frozen.at(3)
    for expert in (frozen, learning):
        with torch.no_grad():
            expert.get_parameter(name).sub_(9)
    assert_same(frozen, learning, 3)
    before = model().at(30), model().at(3)
    assert any(
        not torch.equal(getattr(frozen.at(frame), field.name), getattr(old, field.name))
        for frame, old in zip((30, 3), before, strict=True)
        for field in fields(old)
        if getattr(old, field.name) is not None
    )


def test_what_no_frame_changes_is_computed_once(monkeypatch):
    seen = []
    monkeypatch.setattr(ex4dgs, "arcs", lambda quats: seen.append(1) or arcs(quats))
    frozen = model().requires_grad_(False)
    first, second = frozen.at(3), frozen.at(17)
    assert first.sh is second.sh and first.scales is second.scales and len(seen) == 1
    assert not torch.equal(first.quats, second.quats)


def test_a_model_that_learns_looks_at_the_two_keyframes_it_needs(monkeypatch):
    monkeypatch.setattr(ex4dgs, "arcs", None)  # all of them
    learning = model()
    learning.at(18.5).quats[3:].sum().backward()
    touched = learning.dynamic.quats.grad.abs().sum((0, 2)) > 0
    assert touched.nonzero().flatten().tolist() == [3, 4]


def test_quaternions_that_do_not_move_stay():
    quats = torch.nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    torch.testing.assert_close(slerp(quats, quats, 0.3), quats, atol=1e-6, rtol=0)
