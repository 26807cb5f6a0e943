"""Density within a budget: dead Gaussians become copies of living ones (3DGS as MCMC, Kheradmand et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.maths.geometry import turned
from common.text.wording import counted
from experts.base import DivergedError
from experts.training.gaussians.density import Rows, remove
from experts.training.gaussians.population import Population
from experts.training.gaussians.statistics import Statistics
from experts.training.recipes.recipe import Density
from experts.training.recipes.recipe_fields import N3V_EXTENT

MOST = 51  # Gaussians of a stack that the transfer can tell apart
LEAST_OPACITY = 0.005  # of a stack's members
GROWTH = 1.05  # of the number of Gaussians at a time, at most
_EPSILON = torch.finfo(torch.float32).eps
_STEEPNESS = 100.0  # of the noise's fall where opacity grows
_NOISY = 0.005  # opacity at which half of the noise is left


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """Gaussians that are copied, and how sources and copies look, so that together they look as the sources did.

    Indices are of Gaussians [n] before any comes or goes. Opacities and factors are float64.
    """

    sources: Tensor  # indices [s], rising
    drawn: Tensor  # indices [m]: the source of each copy
    opacities: Tensor  # [s + m], of sources, then of copies
    factors: Tensor  # [s + m], of scales

    @property
    def origins(self) -> Tensor:
        """Indices [s + m] of what sources and copies look like."""
        return torch.cat([self.sources, self.drawn])


def draw_stacks(
    opacities: Tensor,
    candidates: Tensor,
    scores: Tensor,
    count: int,
    generator: torch.Generator,
    *,
    least: float = LEAST_OPACITY,
) -> Stacks:
    """Draws the sources of so many copies.

    opacities [n] float64. candidates [k]: indices that may be drawn, as often as scores [k] say. generator: of the
    CPU, as all tensors are.
    """
    drawn = candidates[_drawn(scores, count, generator)]
    members = 1 + drawn.bincount(minlength=len(opacities))
    sources = (members > 1).nonzero().squeeze(1)
    origins = torch.cat([sources, drawn])
    shared, factors = stack_members(opacities[origins], members[origins], least=least)
    return Stacks(sources=sources, drawn=drawn, opacities=shared, factors=factors)


def stacked(rows: Rows, opacities: Tensor, factors: Tensor) -> Rows:
    """Rows of members of stacks: those of their sources, at the stack's opacities [m] and factors [m] of scales."""
    return {
        **rows,
        "opacity_logits": opacities.logit().to(rows["opacity_logits"]),
        "log_scales": rows["log_scales"] + factors.log().to(rows["log_scales"])[:, None],
    }


def stack_members(opacities: Tensor, counts: Tensor, *, least: float = LEAST_OPACITY) -> tuple[Tensor, Tensor]:
    """Opacity [n] of each member of stacks that look as one Gaussian did, and the factor [n] of its scales.

    opacities [n] float64 in 0 ... 1, counts [n] int64: members, of which MOST are told apart. least: no member is
    fainter. The transfer is that of Kheradmand et al. 2024, whose double sum is a single one here: the sum over i of
    binom(i - 1, k) is binom(n, k + 1).
    """
    counts = counts.clamp(1, MOST)
    members = (1 - (1 - opacities).pow(1 / counts)).clamp(least, 1 - _EPSILON)
    members = torch.where(counts == 1, opacities, members)  # nothing to share, nothing to round
    orders = torch.arange(1, MOST + 1, dtype=torch.float64, device=opacities.device)
    terms = _binomials().to(opacities.device)[counts - 1] * members[:, None] ** orders
    signs = 1 - 2 * ((orders - 1) % 2)
    return members, opacities / (terms * signs / orders.sqrt()).sum(1)


def _binomials() -> Tensor:
    """binom(n, k) [MOST, MOST], n and k from 1."""
    table = [[math.comb(n, k) for k in range(1, MOST + 1)] for n in range(1, MOST + 1)]
    return torch.tensor(table, dtype=torch.float64)


def _drawn(scores: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices [count] drawn with replacement; unlike torch.multinomial, of more than 2^24 rows too."""
    sums = scores.cumsum(0)
    places = sums[-1] * torch.rand(count, dtype=torch.float64, generator=generator)
    return torch.searchsorted(sums, places, right=True).clamp(max=len(scores) - 1)


def check_density(density: Density, count: int) -> None:
    """Raises ValueError for a table that contradicts itself, or a relocation whose budget cannot hold so many."""
    relocates, limit = density.kind == "relocate", density.max_gaussians
    if not 0 <= density.noise < math.inf:
        raise ValueError(f"density.noise is {density.noise:g}: give a number that is 0 or more")
    if density.noise and not relocates:
        raise ValueError(
            f"density.noise is {density.noise:g}, which belongs to relocation, and density.kind is {density.kind}; "
            "set density.kind=relocate, or density.noise=0"
        )
    if relocates and limit is None:
        raise ValueError("density.kind is relocate, which needs a number of Gaussians to grow to: give --max_gaussians")
    if relocates and limit is not None and count > limit:
        raise ValueError(
            f"density.kind is relocate, and {counted(count, 'Gaussian')} at the start are more than max_gaussians, "
            f"{limit}; give --max_points {limit} or less, or a larger --max_gaussians"
        )


def faint(populations: Sequence[Population], smallest_opacity: float) -> list[Tensor]:
    """Masks [n] of what is at most so opaque, without deformation and temporal windows, one for each population."""
    return [one["opacity_logits"].detach().sigmoid() <= smallest_opacity for one in populations]


@torch.no_grad()
def relocate_within(
    budget: int,
    populations: Sequence[Population],
    statistics: Sequence[Statistics],
    dead: Sequence[Tensor],
    *,
    smallest_opacity: float,
    generator: torch.Generator,
    name: str,
) -> None:
    """Dead Gaussians go; copies of living ones take their places, and 5 % more come until all populations have
    `budget` together.

    dead: a mask [n] of each population. Sources are drawn from all populations by their opacities (without deformation
    and temporal windows); a copy belongs to the population of its source. Moments of sources and copies begin at zero,
    and copies have their sources' statistics. generator: of the CPU; the same one gives the same result on every
    device. name: the expert's. Raises DivergedError where all are dead.
    """
    opacities = torch.cat([one["opacity_logits"].detach().cpu().double().sigmoid() for one in populations])
    gone = torch.cat([mask.cpu() for mask in dead])
    total, living = len(gone), (~gone).nonzero().squeeze(1)
    if total and len(living) == 0:
        raise DivergedError(
            f"{name}: all {counted(total, 'Gaussian')} are dead (opacity at most {smallest_opacity:g}), so none can be "
            "copied; lower the opacity's learning rate or generalise.opacity"
        )
    copies = max(total, min(budget, int(GROWTH * total))) - len(living)
    if copies == 0:
        return
    stacks = draw_stacks(opacities, living, opacities[living], copies, generator, least=smallest_opacity)
    first = 0
    for population, own, mask in zip(populations, statistics, dead, strict=True):
        if population.count:
            _restack(population, own, mask, stacks, first)
        first += len(mask)


def _restack(population: Population, statistics: Statistics, dead: Tensor, stacks: Stacks, first: int) -> None:
    """Changes a population, whose Gaussians are those from index `first` on."""
    device, origins = population.device, stacks.origins - first
    own = (origins >= 0) & (origins < population.count)
    is_source = torch.arange(len(origins)) < len(stacks.sources)
    sources, drawn = (origins[own & which].to(device) for which in (is_source, ~is_source))
    rows = stacked(population.rows(origins[own].to(device)), stacks.opacities[own], stacks.factors[own])
    population.overwrite(sources, {name: values[: len(sources)] for name, values in rows.items()})
    population.append({name: values[len(sources) :] for name, values in rows.items()})
    statistics.copy(drawn)
    remove(population, statistics, torch.cat([dead, dead.new_zeros(len(drawn))]))


@torch.no_grad()
def add_noise(
    population: Population,
    optimiser: torch.optim.Optimizer,
    *,
    weight: float,
    extent: float,
    generator: torch.Generator,
) -> None:
    """Moves means at random: faint Gaussians far, opaque ones hardly, each along its own axes.

    The offset is weight x rate of the means x covariance x sigmoid(100 (0.005 - opacity)) x a standard normal sample,
    as in Kheradmand et al. 2024; squared lengths are those of a world of extent N3V_EXTENT, so that the published
    weight of 5e5 fits every world. All keyframes of a mean [k, 3] share the sample.
    """
    means, quats = population["means"], population["quats"].detach()
    if population.count == 0:
        return
    rates = [group["lr"] for group in optimiser.param_groups if any(one is means for one in group["params"])]
    seed = int(torch.randint(2**62, (1,), generator=generator))
    normal = torch.Generator(means.device).manual_seed(seed)  # made where it is used
    drawn = torch.randn((population.count, 3), generator=normal, device=means.device)
    faint = (_STEEPNESS * (_NOISY - population["opacity_logits"].detach().sigmoid())).sigmoid()
    variances = (2 * population["log_scales"].detach()).exp() * (N3V_EXTENT / extent) ** 2
    factors = weight * sum(rates) * faint[:, None] * variances
    if means.dim() == 3:
        drawn, factors = (values[:, None].expand_as(means).reshape(-1, 3) for values in (drawn, factors))
    flat = quats.reshape(-1, 4)
    inverse = flat * flat.new_tensor([1.0, -1.0, -1.0, -1.0])
    means.add_(turned(factors * turned(drawn, inverse), flat).view_as(means))
