"""Rows and the optimiser's moments go together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experts.training.gaussians.density import PARAMETERS
from experts.training.gaussians.population import Population


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.means = nn.Parameter(torch.arange(12.0).reshape(4, 3))
        self.inner = nn.Module()
        self.inner.logits = nn.Parameter(torch.arange(4.0))
        self.other = nn.Parameter(torch.ones(5))


@pytest.fixture(params=[torch.optim.Adam, torch.optim.RAdam])
def trained(request):
    model = Two()
    population = Population({"means": (model, "means"), "opacity_logits": (model.inner, "logits")})
    optimiser = request.param(model.parameters(), lr=0.1)
    population.attach(optimiser)
    sum(parameter.square().sum() for parameter in model.parameters()).backward()
    optimiser.step()
    return model, population, optimiser


def moments(optimiser, parameter):
    return optimiser.state[parameter]["exp_avg"], optimiser.state[parameter]["exp_avg_sq"]


def test_kept_rows_keep_their_moments(trained):
    model, population, optimiser = trained
    before = [moment.clone() for moment in moments(optimiser, model.means)]
    population.keep(torch.tensor([True, False, True, False]))
    assert population.count == 2 and model.inner.logits.shape == (2,)
    for old, new in zip(before, moments(optimiser, model.means), strict=True):
        assert torch.equal(new, old[[0, 2]]) and bool((new != 0).any())


def test_new_rows_begin_without_moments(trained):
    model, population, optimiser = trained
    before = moments(optimiser, model.means)[0].clone()
    population.append({"means": torch.full((2, 3), 7.0), "opacity_logits": torch.zeros(2)})
    after = moments(optimiser, model.means)[0]
    assert torch.equal(after[:4], before) and bool((after[4:] == 0).all())
    assert torch.equal(model.means[4:], torch.full((2, 3), 7.0))


def test_replaced_values_begin_without_moments_and_may_change_shape(trained):
    model, population, optimiser = trained
    population.put("means", torch.ones(4, 2, 3))
    assert model.means.shape == (4, 2, 3)
    assert bool((moments(optimiser, model.means)[1] == 0).all())


def test_the_optimiser_goes_on_with_what_was_changed(trained):
    model, population, optimiser = trained
    population.keep(torch.tensor([False, True, True, True]))
    population.append({"means": torch.ones(1, 3), "opacity_logits": torch.ones(1)})
    before = model.means.detach().clone()
    optimiser.zero_grad()
    sum(parameter.square().sum() for parameter in model.parameters()).backward()
    optimiser.step()
    assert bool((model.means != before).all())
    held = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in held} == {id(parameter) for parameter in model.parameters()}
    assert len(optimiser.state) == 3


def test_a_missing_parameter_changes_nothing(trained):
    model, population, _ = trained
    with pytest.raises(KeyError, match="logits"):
        population.append({"means": torch.ones(1, 3)})
    assert model.means.shape[0] == model.inner.logits.shape[0] == 4


def test_names_that_a_trainer_asks_for_are_required(trained):
    _, population, _ = trained
    population.require(["opacity_logits", "means"])
    with pytest.raises(ValueError, match=r"of means, opacity_logits lacks log_scales, quats: .*\(\{\"log_scales\": \("):
        population.require(PARAMETERS)


def test_overwritten_rows_alone_lose_their_moments(trained):
    model, population, optimiser = trained
    parameter, before = model.means, moments(optimiser, model.means)[0].clone()
    population.overwrite(torch.tensor([3, 0]), {"means": torch.ones(2, 3), "opacity_logits": torch.tensor([5.0, 6.0])})
    assert model.means is parameter and torch.equal(parameter[[0, 3]], torch.ones(2, 3))
    assert model.inner.logits[[3, 0]].tolist() == [5.0, 6.0]
    for moment in moments(optimiser, model.means):
        assert bool((moment[[0, 3]] == 0).all()) and bool((moment[[1, 2]] != 0).any())
    assert torch.equal(moments(optimiser, model.means)[0][[1, 2]], before[[1, 2]])
    mask = torch.tensor([False, True, False, False])
    population.overwrite(mask, {"means": torch.zeros(1, 3), "opacity_logits": torch.zeros(1)})
    assert not parameter[1].any() and bool((moments(optimiser, model.inner.logits)[0][:2] == 0).all())


def test_what_does_not_fit_overwrites_nothing(trained):
    model, population, _ = trained
    before = model.means.detach().clone()
    with pytest.raises(KeyError, match="opacity_logits"):
        population.overwrite(torch.tensor([0]), {"means": torch.ones(1, 3)})
    with pytest.raises(ValueError, match=r"opacity_logits: values of 1 rows have shape \(1,\), not \(2,\)"):
        population.overwrite(torch.tensor([0]), {"means": torch.ones(1, 3), "opacity_logits": torch.ones(2)})
    assert torch.equal(model.means, before)
