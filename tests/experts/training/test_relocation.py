"""Relocation within a budget: who dies, who is copied, what the optimiser and statistics know, noise, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from common.maths.geometry import rotation_of
from experts.base import DivergedError
from experts.training.gaussians.population import Population
from experts.training.gaussians.relocation import add_noise, check_density, faint, relocate_within, stack_members
from experts.training.gaussians.statistics import Statistics
from experts.training.recipes.recipe import Density
from experts.training.recipes.recipe_fields import N3V_EXTENT

TABLE = Density(kind="relocate", max_gaussians=100)


def trained(opacities: list[float], extra: str = "labels", device: str = "cpu"):
    """A population, its statistics (gradients: 1, 2 ...) and its optimiser, whose moments are nowhere zero."""
    module, count = nn.Module(), len(opacities)
    generator = torch.Generator().manual_seed(count)
    values = {
        "means": torch.randn(count, 3, generator=generator),
        "log_scales": torch.zeros(count, 3),
        "quats": torch.randn(count, 4, generator=generator),
        "opacity_logits": torch.tensor(opacities).logit(),
        extra: torch.arange(1.0, count + 1),
    }
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value.to(device)))
    population = Population({name: (module, name) for name in values})
    optimiser = torch.optim.Adam(module.parameters(), lr=0.0)
    population.attach(optimiser)
    sum((parameter + 10).square().sum() for parameter in module.parameters()).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    statistics = Statistics(count, torch.device(device))
    statistics.gradients.add_(torch.arange(1.0, count + 1, device=device))
    return population, statistics, optimiser


def relocated(budget: int, *trainings, seed: int = 0, smallest: float = 0.005) -> None:
    populations, statistics, _ = zip(*trainings, strict=True)
    dead, generator = faint(populations, smallest), torch.Generator().manual_seed(seed)
    relocate_within(budget, populations, statistics, dead, smallest_opacity=smallest, generator=generator, name="One")


def test_copies_take_the_places_of_the_dead_of_all_populations():
    first, second = trained([0.9, 0.001, 0.002]), trained([0.001, 0.8], extra="keyframes")
    relocated(5, first, second)
    assert first[0].count + second[0].count == 5
    for (population, statistics, optimiser), extra, source in ((first, "labels", 0.9), (second, "keyframes", 0.8)):
        stack = population.count
        label = {0.9: 1.0, 0.8: 2.0}[source]
        assert population[extra].tolist() == [label] * stack == statistics.gradients.tolist()
        opacity, factor = stack_members(torch.tensor([source]).double(), torch.tensor([stack]))
        assert torch.allclose(population["opacity_logits"].sigmoid(), opacity.float(), atol=1e-6)
        assert torch.allclose(population["log_scales"], factor.log().float(), atol=1e-6)
        for name in population.names:
            assert (optimiser.state[population[name]]["exp_avg"] == 0).all() == (stack > 1), name
    assert {first[0].count, second[0].count} != {5, 0}


def test_growth_is_five_percent_at_most_and_ends_at_the_budget():
    for budget, count in ((1000, 105), (103, 103), (100, 100), (50, 100)):
        training = trained([0.5] * 100)
        relocated(budget, training)
        assert training[0].count == count == len(training[1].gradients)
    untouched, before = trained([0.5] * 100), trained([0.5] * 100)
    relocated(100, untouched)
    assert all(torch.equal(untouched[0][name], before[0][name]) for name in untouched[0].names)


def test_moments_of_all_others_stay():
    training = trained([0.999, 0.001] + [1e-2] * 3)
    population, _, optimiser = training
    before = optimiser.state[population["labels"]]["exp_avg"].clone()
    relocated(5, training)
    kept = optimiser.state[population["labels"]]["exp_avg"]
    assert population["labels"].tolist() == [1, 3, 4, 5, 1]
    assert kept.tolist() == [0, *before[2:].tolist(), 0]


def test_opaque_gaussians_are_copied_as_often_as_their_opacity_says():
    training = trained([0.75, 0.25] + [0.001] * 2000)
    relocated(2002, training)
    assert (training[0]["labels"] == 1).sum().item() == pytest.approx(1500, abs=80)


def test_what_shares_a_small_opacity_does_not_die_of_it():
    training = trained([0.02] + [0.001] * 9)
    relocated(10, training, smallest=0.01)
    assert torch.allclose(training[0]["opacity_logits"].sigmoid(), torch.tensor(0.01))


def test_the_same_generator_gives_the_same_and_all_dead_ends_the_training():
    first, again, other = (trained([0.9, 0.001, 0.3] * 30) for _ in range(3))
    for training, seed in ((first, 1), (again, 1), (other, 2)):
        relocated(100, training, seed=seed)
    assert torch.equal(first[0]["labels"], again[0]["labels"])
    assert not torch.equal(first[0]["labels"], other[0]["labels"])
    with pytest.raises(DivergedError, match="One: all 2 Gaussians are dead"):
        relocated(5, trained([0.001, 0.002]))


def test_no_gaussians_at_all_are_left_alone():
    empty = trained([])
    relocated(5, empty)
    assert empty[0].count == 0


def noise_of(opacity: float, *, keyframes: int = 0, weight: float = 2.0, extent: float = N3V_EXTENT, count: int = 4000):
    """Offsets of equal Gaussians of scales 0.5, 0.1 and 0.1, turned by 60 degrees about z at a rate of 0.1."""
    module = nn.Module()
    keys = (keyframes,) if keyframes else ()
    quat = torch.tensor([0.75**0.5, 0.0, 0.0, 0.5])
    module.means = nn.Parameter(torch.zeros(count, *keys, 3))
    module.quats = nn.Parameter(3 * quat.expand(count, *keys, 4).clone())
    module.log_scales = nn.Parameter(torch.tensor([0.5, 0.1, 0.1]).log().repeat(count, 1))
    module.opacity_logits = nn.Parameter(torch.full((count,), opacity).logit())
    population = Population({name: (module, name) for name, _ in module.named_parameters()})
    optimiser = torch.optim.Adam([{"params": [module.means], "lr": 0.1}, {"params": [module.quats], "lr": 7.0}])
    generator = torch.Generator().manual_seed(0)
    add_noise(population, optimiser, weight=weight, extent=extent, generator=generator)
    return module.means.detach(), quat


def test_noise_has_the_published_size_along_the_gaussians_axes():
    offsets, quat = noise_of(0.015)
    turn = rotation_of(quat.tolist()).float()
    covariance = turn @ torch.diag(torch.tensor([0.25, 0.01, 0.01])) @ turn.T
    expected = 2.0 * 0.1 / (1 + torch.e) * covariance  # the offset's standard deviations: sigmoid(100 (0.005 - 0.015))
    unit = offsets @ expected.inverse()  # the standard normal samples
    assert torch.allclose(unit.T @ unit / len(unit), torch.eye(3), atol=0.1)
    assert noise_of(0.5)[0].abs().max() < 1e-15
    assert torch.allclose(noise_of(0.015, extent=2 * N3V_EXTENT)[0], offsets / 4)
    at_keyframes = noise_of(0.015, keyframes=3)[0]
    assert torch.equal(at_keyframes, offsets[:, None].expand(-1, 3, 3))


def test_noise_of_a_ball_is_the_same_at_all_keyframes_however_it_turns():
    module, generator = nn.Module(), torch.Generator().manual_seed(1)
    module.means = nn.Parameter(torch.zeros(5, 3, 3))
    module.quats = nn.Parameter(torch.randn(5, 3, 4, generator=generator))
    module.log_scales = nn.Parameter(torch.full((5, 3), -1.0))
    module.opacity_logits = nn.Parameter(torch.full((5,), -6.0))
    population = Population({name: (module, name) for name, _ in module.named_parameters()})
    optimiser = torch.optim.Adam([module.means], lr=0.1)
    add_noise(population, optimiser, weight=1.0, extent=N3V_EXTENT, generator=generator)
    assert module.means.abs().min() > 0
    assert torch.allclose(module.means, module.means[:, :1].expand(5, 3, 3), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "count", "words"),
    [
        ({"max_gaussians": None}, 5, "needs a number of Gaussians to grow to: give --max_gaussians"),
        ({}, 101, "101 Gaussians at the start are more than max_gaussians, 100; give --max_points 100"),
        ({"noise": -1.0}, 5, "density.noise is -1: give a number that is 0 or more"),
        ({"noise": float("nan")}, 5, "density.noise is nan"),
        ({"noise": 5e5, "kind": "densify"}, 5, "set density.kind=relocate, or density.noise=0"),
    ],
)
def test_tables_that_are_refused(changes, count, words):
    with pytest.raises(ValueError, match=words):
        check_density(replace(TABLE, **changes), count)
    check_density(replace(TABLE, noise=5e5), 100)
    check_density(Density(), 10**6)


@pytest.mark.cuda
def test_a_gpu_gives_the_same_copies():
    shades = torch.tensor([0.9, 0.001, 0.4, 0.7]).repeat(20).tolist()
    here, there = trained(shades), trained(shades, device="cuda")
    for training in (here, there):
        relocated(100, training)
    assert there[0].device.type == "cuda" and here[0].count == there[0].count == 84
    for name in here[0].names:
        torch.testing.assert_close(there[0][name].detach().cpu(), here[0][name].detach(), atol=1e-6, rtol=1e-6)
    assert torch.equal(there[1].gradients.cpu(), here[1].gradients)
