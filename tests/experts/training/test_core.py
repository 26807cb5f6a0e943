"""Rates, samplers, scaling of recipes, colour correction."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from experts.training.colour_correction import ColourCorrection
from experts.training.density import Density
from experts.training.rates import Rate, build_optimiser, set_rates
from experts.training.recipe import Recipe, scaled_recipe
from experts.training.recipe_fields import INTERVAL, ITERATIONS
from experts.training.samplers import SameMoment, ShuffledPass, samples_from_lists, samples_to_lists


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.net_2 = nn.Linear(2, 2)
        self.means = nn.Parameter(torch.zeros(3, 3))


def test_the_longest_prefix_counts_and_the_rest_is_frozen():
    model = Model()
    rates = {"net": Rate(first=1.0), "net.bias": Rate(first=2.0, last=0.02, per_extent=True)}
    optimiser = build_optimiser(model, rates, kind="adam", extent=3.0)
    set_rates(optimiser, 0.5)
    found = {group["name"]: (group["lr"], group["params"]) for group in optimiser.param_groups}
    assert found["net"][0] == 1.0 and found["net"][1] == [model.net.weight]
    assert found["net.bias"][0] == pytest.approx(0.6) and found["net.bias"][1] == [model.net.bias]
    assert not model.net_2.weight.requires_grad and not model.means.requires_grad
    with pytest.raises(ValueError, match="no parameter is named nets"):
        build_optimiser(model, {"nets": Rate(first=1.0)}, kind="radam", extent=1.0)


def test_a_pass_shows_every_image_once_and_grows():
    sampler = ShuffledPass(views=3, frames=2, generator=torch.Generator().manual_seed(1), start=5)
    first = [sampler.next(i)[0] for i in range(6)]
    assert Counter((s.view, s.frame) for s in first) == Counter((v, f) for v in range(3) for f in (5, 6))
    sampler.frames = 4
    assert {sampler.next(i)[0].frame for i in range(12)} == {5, 6, 7, 8} and sampler.passes == 2


@pytest.mark.parametrize("kind", [ShuffledPass, SameMoment])
def test_samplers_go_on_from_their_state(kind):
    def new(seed):
        return kind(views=4, frames=5, generator=torch.Generator().manual_seed(seed), batch=2)

    one, other = new(3), new(9)
    for i in range(7):
        one.next(i)
    other.load(deepcopy(one.state()))
    other._generator.set_state(one._generator.get_state())
    assert [one.next(i) for i in range(30)] == [other.next(i) for i in range(30)]


def test_one_moment_different_cameras():
    sampler = SameMoment(views=3, frames=50, generator=torch.Generator().manual_seed(1), batch=2)
    for i in range(50):
        a, b = sampler.next(i)
        assert a.frame == b.frame and a.view != b.view
    assert len(SameMoment(views=1, frames=5, generator=torch.Generator(), batch=2).next(0)) == 1
    assert samples_from_lists(samples_to_lists([(a, b)])) == [(a, b)]


@dataclass(frozen=True, kw_only=True)
class Longer(Recipe):
    resets: tuple[int, ...] = field(default=(3000, 6000), metadata=ITERATIONS)
    grow: int = field(default=400, metadata=INTERVAL)


def test_all_schedules_scale():
    recipe = Longer(iterations=30000, rate_iterations=20000, density=Density(stop=9000, reset_every=None))
    short = scaled_recipe(recipe, 3000)
    assert (short.iterations, short.rate_iterations, short.sh_every) == (3000, 2000, 100)
    assert short.resets == (300, 600) and short.grow == 50
    assert (short.density.start, short.density.stop, short.density.every) == (50, 900, 50)
    assert short.density.reset_every is None and short.density.gradient == recipe.density.gradient
    long = scaled_recipe(recipe, 60000)
    assert (long.density.every, long.grow) == (200, 800)


def test_colour_correction_learns_a_cameras_colours_and_stays_near_the_identity():
    torch.manual_seed(0)
    correction = ColourCorrection(3, rate=1e-2)
    image = torch.rand(3, 8, 8)
    assert torch.equal(correction(image, 1), image)
    gains = torch.tensor([1.1, 1.0, 0.9])
    for step in range(300):
        for view, sign in ((0, 1.0), (1, -1.0)):
            target = image * (1 + sign * (gains[:, None, None] - 1))
            (correction(image, view) - target).abs().mean().backward()
        correction.regulariser().backward()
        correction.step(step / 300)
    assert (correction(image, 0) - image * gains[:, None, None]).abs().mean() < 0.01
    assert correction.matrices.detach().mean(0).abs().max() < 1e-6  # the rig's mean stays where it was
    assert torch.equal(correction(image, 2), image) or (correction(image, 2) - image).abs().max() < 0.01


def test_what_all_cameras_have_in_common_is_left_to_the_model():
    correction = ColourCorrection(3, rate=1e-2)
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    for step in range(50):
        for view in range(3):
            (correction(image, view) - 1.2 * image - 0.1).abs().mean().backward()
        correction.step(step / 50)
    for view in range(3):
        assert (correction(image, view) - image).abs().max() < 1e-6


def test_colour_correction_goes_on_from_its_state():
    one, other = ColourCorrection(2), ColourCorrection(2)
    image = torch.rand(3, 4, 4)

    def step(correction):
        correction(image, 0).square().mean().backward()
        correction.step(0.5)

    step(one)
    other.load(deepcopy(one.state()))
    step(one), step(other)
    assert torch.equal(one.matrices, other.matrices) and torch.equal(one.offsets, other.offsets)
