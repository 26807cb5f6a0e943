"""Learning rates by parameters' names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experts.kept_frames import ExpertFrames
from experts.training.recipes.rates import build_optimiser, set_rates
from experts.training.recipes.recipe import Rate
from tests.small_world import CloudExpert


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.net_2 = nn.Linear(2, 2)
        self.means = nn.Parameter(torch.zeros(3, 3))


RATES = {"net": Rate(first=1.0), "net.bias": Rate(first=2.0, last=0.02, per_extent=True)}
OTHERS = {"net_2": Rate(first=0.0), "means": Rate(first=3.0)}


def test_the_longest_key_counts():
    model = Model()
    optimiser = build_optimiser(model, RATES | OTHERS, kind="adam", extent=3.0)
    set_rates(optimiser, 0.5)
    groups = {group["name"]: (group["lr"], group["params"]) for group in optimiser.param_groups}
    assert groups["net"] == (1.0, [model.net.weight])
    assert groups["net.bias"] == (pytest.approx(0.6), [model.net.bias])
    assert groups["net_2"] == (0.0, [model.net_2.weight, model.net_2.bias])
    assert groups["means"] == (3.0, [model.means])


@pytest.mark.parametrize("kind", ["adam", "radam"])
def test_steps_are_seen_by_what_is_kept_of_a_frozen_model(kind):
    """PyTorch's fused kernels write parameters without a step of the counters that tell of changes."""
    expert = CloudExpert("A", 1).requires_grad_(False)
    frames = ExpertFrames(most=2**30)
    before = frames.of(expert, 0).gaussians.means.clone()
    rates = {name: Rate(first=0.1) for name, _ in expert.named_parameters()}
    optimiser = build_optimiser(expert, rates, kind=kind, extent=1.0)
    for _ in range(7):  # beyond the first steps of RAdam
        sum(parameter.sum() for parameter in expert.parameters()).backward()
        optimiser.step()
    expert.requires_grad_(False)
    assert torch.equal(frames.of(expert, 0).gaussians.means, expert.at(0).means)
    assert not torch.equal(expert.at(0).means, before)


def test_a_rate_of_zero_keeps_a_parameter_as_it_is():
    model = Model()
    before = model.net_2.weight.detach().clone(), model.means.detach().clone()
    optimiser = build_optimiser(model, RATES | OTHERS, kind="adam", extent=3.0)
    sum(parameter.exp().sum() for parameter in model.parameters()).backward()
    optimiser.step()
    assert torch.equal(model.net_2.weight, before[0]) and bool((model.means != before[1]).all())


def test_every_parameter_has_a_rate_and_every_rate_a_parameter():
    with pytest.raises(ValueError, match="no parameter is named nets"):
        build_optimiser(Model(), RATES | OTHERS | {"nets": Rate(first=1.0)}, kind="radam", extent=1.0)
    partly = RATES | {"means": OTHERS["means"], "net_2.bias": OTHERS["net_2"]}
    with pytest.raises(ValueError, match=r"net_2.weight has no learning rate .*\(did you mean net_2.bias\?\); add "):
        build_optimiser(Model(), partly, kind="adam", extent=1.0)
    with pytest.raises(ValueError, match=r"means has no learning rate .*\(known: net, net.bias, net_2\)"):
        build_optimiser(Model(), RATES | {"net_2": OTHERS["net_2"]}, kind="adam", extent=1.0)
