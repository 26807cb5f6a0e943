"""Relocation: what is dead, what is copied, how a stack of copies looks, and what the optimiser still knows."""

from __future__ import annotations

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize
from torch import nn

from experts.base import DivergedError
from experts.freetime.relocation import relocate
from experts.training.gaussians.population import Population
from experts.training.gaussians.relocation import LEAST_OPACITY, MOST, stack_members

SHAPES = {
    "means": (3,),
    "log_scales": (3,),
    "quats": (4,),
    "opacity_logits": (),
    "sh_dc": (1, 3),
    "sh_rest": (15, 3),
    "times": (),
    "widths": (),
    "velocities": (3,),
    "gates": (),
}
MOVED_BY_MCMC = ("opacity_logits", "log_scales")


def trained(opacities: list[float], *, device: str = "cpu"):
    """A population of these opacities, all else random, and its optimiser, whose moments are nowhere zero."""
    module, generator = nn.Module(), torch.Generator().manual_seed(0)
    for name, shape in SHAPES.items():
        values = torch.randn((len(opacities), *shape), generator=generator)
        if name == "opacity_logits":
            values = torch.tensor(opacities).logit()
        module.register_parameter(name, nn.Parameter(values.to(device)))
    population = Population({name: (module, name) for name in SHAPES})
    optimiser = torch.optim.Adam(module.parameters(), lr=0.0)
    population.attach(optimiser)
    sum((parameter + 10).square().sum() for parameter in module.parameters()).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return population, optimiser


def values_of(population: Population) -> dict[str, torch.Tensor]:
    return {name: population[name].detach().cpu().clone() for name in population.names}


def moved(population: Population, *, seed: int = 0, **options) -> int:
    options.setdefault("gradients", torch.ones(population.count))
    return relocate(population, generator=torch.Generator().manual_seed(seed), **{"most_share": 1.0, **options})


def test_the_transfer_of_one_and_of_two():
    opacities = torch.tensor([0.9, 0.3, 1e-4, 1.0], dtype=torch.float64)
    alone, factor = stack_members(opacities, torch.ones(4, dtype=torch.int64))
    assert torch.equal(alone, opacities) and torch.allclose(factor, torch.ones(4, dtype=torch.float64))
    pair, factor = stack_members(torch.tensor([0.9]).double(), torch.tensor([2]))
    assert pair.item() == pytest.approx(0.684, abs=5e-4) and factor.item() == pytest.approx(0.868, abs=5e-4)


def test_the_transfer_is_the_published_double_sum():
    for count, opacity in ((3, 0.5), (7, 0.99), (MOST, 0.999)):
        (member,), (factor,) = stack_members(torch.tensor([opacity], dtype=torch.float64), torch.tensor([count]))
        assert member.item() == pytest.approx(max(LEAST_OPACITY, 1 - (1 - opacity) ** (1 / count)))
        total = 0.0
        for i in range(1, count + 1):
            binomial = 1.0  # binom(i - 1, k)
            for k in range(i):
                total += binomial * (-1) ** k * member.item() ** (k + 1) / (k + 1) ** 0.5
                binomial *= (i - 1 - k) / (k + 1)
        assert factor.item() == pytest.approx(opacity / total, rel=1e-6)
    members, factor = stack_members(torch.tensor([0.9, 0.9]).double(), torch.tensor([MOST, 500]))
    assert members[0] == members[1] and factor[0] == factor[1]
    members, factor = stack_members(torch.tensor([0.006, 1.0]).double(), torch.tensor([MOST, 2]))
    assert members.tolist() == [LEAST_OPACITY, pytest.approx(1, abs=1e-6)] and bool(factor.isfinite().all())


CAMERA = Camera(world_to_camera=torch.eye(4), fx=60, fy=60, cx=32, cy=32, width=64, height=64)


def picture(opacity: float, scale: float, copies: int) -> torch.Tensor:
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0, 3]]).repeat(copies, 1),
        scales=torch.full((copies, 3), scale),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(copies, 1),
        opacities=torch.full((copies,), opacity),
        colours=torch.tensor([[1.0, 0.6, 0.2]]).repeat(copies, 1),
    )
    return rasterize([Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.zeros(3))], CAMERA)[
        0
    ].colour


@pytest.mark.parametrize(("opacity", "copies", "least"), [(0.3, 2, 55), (0.9, 2, 40), (0.9, 6, 36), (0.5, 12, 40)])
def test_a_stack_looks_as_its_source_did(opacity, copies, least):
    (member,), (factor,) = stack_members(torch.tensor([opacity]).double(), torch.tensor([copies]))
    before, after = picture(opacity, 0.3, 1), picture(member.item(), 0.3 * factor.item(), copies)
    exact_copies = picture(opacity, 0.3, copies)
    psnr, worse = (-10 * (one - before).square().mean().log10() for one in (after, exact_copies))
    assert psnr > least and worse < 32


def test_dead_rows_become_copies_and_all_else_stays():
    population, _ = trained([0.9, 0.001, 0.6, 0.004, 0.5])
    before = values_of(population)
    gradients = torch.tensor([1e9, 0, 0, 0, 0])  # about half of all choices, and all of the rest by opacity
    chosen = set()
    for seed in range(5):
        population, _ = trained([0.9, 0.001, 0.6, 0.004, 0.5])
        assert moved(population, seed=seed, gradients=gradients) == 2 and population.count == 5
        after = values_of(population)
        sources = [(before["times"][[0, 2, 4]] == after["times"][row]).nonzero().item() * 2 for row in (1, 3)]
        chosen.update(sources)
        for row, source in zip((1, 3), sources, strict=True):
            for name in SHAPES:
                origin = after if name in MOVED_BY_MCMC else before
                assert torch.equal(after[name][row], origin[name][source]), name
            assert after["opacity_logits"][row] < before["opacity_logits"][source]
            assert bool((after["log_scales"][row] < before["log_scales"][source]).all())
        for row in {0, 2, 4} - set(sources):
            assert all(torch.equal(after[name][row], before[name][row]) for name in SHAPES)
    assert 0 in chosen and len(chosen) > 1


def test_only_moments_of_moved_rows_and_their_sources_are_zero():
    population, optimiser = trained([0.9, 0.001, 0.001, 0.6, 0.5])
    gone, kept = [0, 1, 2], [3, 4]
    before = {name: optimiser.state[population[name]]["exp_avg"].clone() for name in SHAPES}
    assert moved(population, shown=torch.tensor([True, False, False, False, False])) == 2
    for name in SHAPES:
        state = optimiser.state[population[name]]
        for key in ("exp_avg", "exp_avg_sq"):
            assert bool((state[key][gone] == 0).all()) and bool((state[key][kept] != 0).all())
        assert torch.equal(state["exp_avg"][kept], before[name][kept]) and state["step"] == 1
    held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    assert held == {id(population[name]) for name in SHAPES}


def test_at_most_a_share_moves_and_the_faintest_go_first():
    opacities = [0.9] * 12 + [0.004, 0.001, 0.003, 0.002, 0.0001, 0.0049, 0.0048, 0.0047]
    population, _ = trained(opacities)
    before = values_of(population)
    assert moved(population, most_share=0.15) == 3
    changed = (values_of(population)["means"] != before["means"]).any(1).nonzero().squeeze(1)
    assert changed.tolist() == [13, 15, 16]
    assert moved(population, also_dead=torch.arange(20) < 4) == 9


def test_gradients_that_say_nothing_leave_a_uniform_choice():
    population, _ = trained([0.99, 0.01] + [0.001] * 400)
    before = values_of(population)
    assert moved(population, gradients=torch.zeros(402)) == 400
    copies = (values_of(population)["times"][2:] == before["times"][0]).sum()
    assert 150 < copies < 250


def test_nothing_dead_changes_nothing_and_all_dead_ends_the_training():
    population, optimiser = trained([0.9, 0.5])
    before = values_of(population)
    assert moved(population) == 0
    assert all(torch.equal(before[name], population[name]) for name in SHAPES)
    assert bool((optimiser.state[population["means"]]["exp_avg"] != 0).all())
    with pytest.raises(DivergedError, match="all 2 Gaussians are dead"):
        moved(population, also_dead=torch.tensor([True, True]))


def test_exact_copies_leave_their_source_as_it_is():
    population, _ = trained([0.9, 0.001])
    before = values_of(population)
    assert moved(population, kind="copy") == 1
    assert all(torch.equal(before[name][[0, 0]], population[name]) for name in SHAPES)


@pytest.mark.parametrize("limit", [None, 5.0])
def test_copies_in_time_stay_on_their_sources_line(limit):
    population, _ = trained([0.9] + [0.001] * 20)
    before = values_of(population)
    shares = torch.full((21,), 0.25)
    assert moved(population, kind="copies_in_time", motion_shares=shares, width_limit=limit) == 20
    after = values_of(population)

    def widths(raw: torch.Tensor) -> torch.Tensor:
        return raw.exp() if limit is None else limit * raw.sigmoid()

    width = widths(before["widths"][0])
    assert torch.allclose(widths(after["widths"][1:]), 0.75 * width)
    steps = (after["times"][1:] - before["times"][0]) / width
    assert torch.allclose(steps.abs(), torch.tensor(0.5), atol=1e-5) and len(steps.sign().unique()) == 2
    at_source = after["means"][1:] - 0.25 * (steps * width)[:, None] * after["velocities"][1:]
    assert torch.allclose(at_source, before["means"][:1].expand(20, 3), atol=1e-5)
    assert after["times"][0] == before["times"][0] and after["widths"][0] == before["widths"][0]


def test_the_same_generator_gives_the_same():
    first, _ = trained([0.9, 0.001] * 50)
    again, _ = trained([0.9, 0.001] * 50)
    other, _ = trained([0.9, 0.001] * 50)
    for population, seed in ((first, 1), (again, 1), (other, 2)):
        moved(population, seed=seed)
    assert all(torch.equal(first[name], again[name]) for name in SHAPES)
    assert not torch.equal(first["means"], other["means"])


@pytest.mark.cuda
def test_a_gpu_gives_the_same_copies():
    here, _ = trained([0.9, 0.001, 0.4] * 50)
    there, _ = trained([0.9, 0.001, 0.4] * 50, device="cuda")
    for population in (here, there):
        assert moved(population, gradients=torch.linspace(0, 1, 150, device=population.device)) == 50
    for name, values in values_of(here).items():
        assert torch.allclose(values, there[name].detach().cpu(), atol=1e-6), name
