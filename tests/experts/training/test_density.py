"""Cloning, splitting, pruning and resetting."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from experts.training.gaussians.density import clone_and_split, prune, reset_opacities, split_in_two
from experts.training.gaussians.population import Population
from experts.training.gaussians.statistics import Statistics
from experts.training.recipes.recipe import Density

GRADIENT = 1e-3
DENSITY = Density(gradient=GRADIENT, dense=0.1)


class Cloud(nn.Module):
    def __init__(self, scales):
        super().__init__()
        count = len(scales)
        self.means = nn.Parameter(torch.arange(3.0 * count).reshape(count, 3))
        self.log_scales = nn.Parameter(torch.tensor(scales).log()[:, None].repeat(1, 3))
        self.quats = nn.Parameter(torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1))
        self.opacity_logits = nn.Parameter(torch.zeros(count))


def cloud(scales):
    model = Cloud(scales)
    population = Population({name: (model, name) for name, _ in model.named_parameters()})
    return model, population, Statistics(len(scales), torch.device("cpu"))


def seen_with(statistics, gradients):
    statistics.observe(torch.tensor([[0.0, g] for g in gradients]), torch.full((len(gradients),), 3))


def densify(population, statistics, density=DENSITY):
    generator = torch.Generator().manual_seed(0)
    clone_and_split(population, statistics, density, extent=1.0, generator=generator)


def test_small_ones_are_cloned_large_ones_split_others_left():
    model, population, statistics = cloud([0.05, 0.5, 0.05])
    seen_with(statistics, [2e-3, 2e-3, 1e-4])
    densify(population, statistics)
    scales = model.log_scales[:, 0].exp()
    assert torch.allclose(scales, torch.tensor([0.05, 0.05, 0.05, 0.5 / 1.6, 0.5 / 1.6]))
    assert torch.equal(model.means[2], torch.arange(3.0))  # the clone
    assert not torch.equal(model.means[3], model.means[4])
    assert (model.means[3] - torch.arange(3.0, 6.0)).norm() < 5 * 0.5
    assert statistics.seen.shape == (5,) and bool((statistics.seen == 0).all())


def test_the_mean_counts_only_images_that_showed_it():
    _, population, statistics = cloud([0.05, 0.05])
    for shown in ([4, 4], [0, 4], [0, 4]):
        statistics.observe(torch.tensor([[1.5e-3, 0.0], [0.5e-3, 0.0]]), torch.tensor(shown))
    assert torch.allclose(statistics.mean_gradients(), torch.tensor([1.5e-3, 0.5e-3]))
    densify(population, statistics)
    assert population.count == 3


def test_a_cap_takes_the_largest_gradients_first():
    model, population, statistics = cloud([0.05] * 4)
    seen_with(statistics, [2e-3, 9e-3, 3e-3, 8e-3])
    densify(population, statistics, Density(gradient=GRADIENT, dense=0.1, max_gaussians=6))
    assert population.count == 6
    assert {tuple(row) for row in model.means[4:].tolist()} == {(3.0, 4.0, 5.0), (9.0, 10.0, 11.0)}
    seen_with(statistics, [9e-3] * 6)
    densify(population, statistics, Density(gradient=GRADIENT, dense=0.1, max_gaussians=6))
    assert population.count == 6


def test_children_follow_their_parents_distribution():
    count = 20_000
    half = math.sqrt(0.5)
    rows = {
        "means": torch.zeros(count, 3),
        "log_scales": torch.tensor([1.0, 2.0, 3.0]).log().repeat(count, 1),
        "quats": torch.tensor([half, 0.0, 0.0, half]).repeat(count, 1),  # 90 degrees about z: x and y exchanged
        "other": torch.arange(float(count)),
    }
    children = split_in_two(rows, torch.Generator().manual_seed(0))
    deviations = children["means"].std(dim=0)
    assert torch.allclose(deviations, torch.tensor([2.0, 1.0, 3.0]), rtol=0.02)  # seen: 0.6 %
    assert torch.equal(children["other"][:count], children["other"][count:])


@pytest.mark.parametrize(
    ("density", "left"),
    [
        (Density(smallest_opacity=0.2), [1, 2]),
        (Density(smallest_opacity=0.2, largest_scale=0.4), [1]),
        (Density(smallest_opacity=0.2, largest_radius=7.0), [2]),
        (Density(smallest_opacity=0.2, prune_above=3), [0, 1, 2]),
    ],
)
def test_pruning(density, left):
    model, population, statistics = cloud([0.1, 0.1, 0.5])
    model.opacity_logits.data[0] = -3.0
    statistics.observe(torch.zeros(3, 2), torch.tensor([3, 8, 3]))
    prune(population, statistics, density, extent=1.0)
    assert [row // 3 for row in model.means[:, 0].tolist()] == left
    assert statistics.seen.shape[0] == len(left)


def test_reset_lowers_only_what_is_higher():
    model, population, _ = cloud([0.1, 0.1])
    model.opacity_logits.data = torch.tensor([2.0, -7.0])
    reset_opacities(population, 0.01)
    assert torch.allclose(model.opacity_logits.sigmoid(), torch.tensor([0.01, torch.tensor(-7.0).sigmoid()]))


def test_when():
    density = Density(start=500, stop=1000, every=100, prune_every=150, reset_every=300)
    assert [i for i in range(1200) if density.densifies(i)] == [600, 700, 800, 900]
    assert [i for i in range(1200) if density.prunes(i)] == [600, 750, 900]
    assert [i for i in range(1, 1200) if density.resets(i)] == [300, 600, 900]
