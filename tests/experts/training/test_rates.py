"""Learning rates by parameters' names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experts.training.rates import Rate, build_optimiser, set_rates


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
