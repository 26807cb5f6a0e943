"""Adaptive density of all experts: Gaussians are cloned, split, pruned, made faint (Kerbl et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from common.maths.geometry import turned
from experts.training.gaussians.population import Population
from experts.training.gaussians.statistics import Statistics
from experts.training.recipes.recipe import Density

Rows = dict[str, Tensor]
Make = Callable[[Rows, torch.Generator], Rows]  # rows of a population to new ones

PARAMETERS = ("means", "log_scales", "quats", "opacity_logits")  # names by which a population's are asked for here
CHILDREN = 2
SHRINK = 0.8 * CHILDREN  # a child's scale is its parent's over this


def copied(rows: Rows, generator: torch.Generator) -> Rows:
    """A clone is where its original is; the optimiser separates them."""
    return rows


def split_in_two(rows: Rows, generator: torch.Generator) -> Rows:
    """Children drawn from the parent's own distribution, at 1 / 1.6 of its scale; all else is copied."""
    offsets = random_offsets(rows["log_scales"].exp(), rows["quats"], generator)
    children = {name: twice(values) for name, values in rows.items()}
    children["means"] = children["means"] + offsets
    return shrunk(children)


def twice(values: Tensor) -> Tensor:
    """Rows [n, ...] once more behind themselves, [2 n, ...]."""
    return values.repeat(CHILDREN, *(1,) * (values.dim() - 1))


def shrunk(children: Rows) -> Rows:
    """Children with their parents' scales over 1.6."""
    return {**children, "log_scales": children["log_scales"] - torch.tensor(SHRINK).log().item()}


def random_offsets(deviations: Tensor, quats: Tensor, generator: torch.Generator) -> Tensor:
    """Offsets [2 n, 3] drawn from Gaussians of deviations [n, 3] along axes turned by quaternions [n, 4]."""
    drawn = torch.randn((CHILDREN * len(deviations), 3), generator=generator).to(deviations)
    return turned(drawn * twice(deviations), twice(quats))


@torch.no_grad()
def clone_and_split(
    population: Population,
    statistics: Statistics,
    density: Density,
    *,
    extent: float,
    generator: torch.Generator,
    clone: Make = copied,
    split: Make = split_in_two,
) -> None:
    """Clones small Gaussians and splits large ones where the screen-space gradient is large; statistics begin again.

    Up to density.max_gaussians, those of the largest gradients first.
    """
    gradients = statistics.mean_gradients()
    chosen = _strongest(gradients, gradients >= density.gradient, _room(population, density))
    small = population["log_scales"].detach().amax(1).exp() <= density.dense * extent
    clones = clone(population.rows(chosen & small), generator)
    children = split(population.rows(chosen & ~small), generator)
    keep = ~(chosen & ~small)
    remove(population, statistics, ~keep)
    for new in (clones, children):
        add(population, statistics, new)
    statistics.clear()


def _room(population: Population, density: Density) -> int | None:
    """Every chosen Gaussian becomes two, so that as many as there is room for may be chosen."""
    return None if density.max_gaussians is None else max(0, density.max_gaussians - population.count)


def _strongest(gradients: Tensor, wanted: Tensor, room: int | None) -> Tensor:
    """At most `room` of the wanted rows [n], those of the largest gradients."""
    if room is None or int(wanted.sum()) <= room:
        return wanted
    order = torch.where(wanted, gradients, gradients.new_tensor(-1.0)).topk(room).indices
    return torch.zeros_like(wanted).index_fill_(0, order, True)


def add(population: Population, statistics: Statistics, new: Rows) -> None:
    """Adds rows to a population, whose statistics follow."""
    population.append(new)
    statistics.grow(len(new["means"]))


@torch.no_grad()
def remove(population: Population, statistics: Statistics, unwanted: Tensor) -> None:
    """Removes the rows of a mask [n] from a population, whose statistics follow."""
    if bool(unwanted.any()):
        population.keep(~unwanted)
        statistics.keep(~unwanted)


@torch.no_grad()
def prune(population: Population, statistics: Statistics, density: Density, *, extent: float) -> None:
    """Removes Gaussians that are too faint, or too large in an image or in the world, as the table says."""
    if population.count <= density.prune_above:
        return
    unwanted = population["opacity_logits"].detach().sigmoid() < density.smallest_opacity
    if density.largest_radius is not None:
        unwanted = unwanted | (statistics.largest_radius > density.largest_radius)
    if density.largest_scale is not None:
        unwanted = unwanted | (population["log_scales"].detach().amax(1).exp() > density.largest_scale * extent)
    remove(population, statistics, unwanted)


@torch.no_grad()
def reset_opacities(population: Population, highest: float) -> None:
    """Makes all Gaussians at most as opaque as `highest`; what is not needed stays faint and is pruned."""
    ceiling = torch.tensor(highest).logit().item()
    population.put("opacity_logits", population["opacity_logits"].detach().clamp(max=ceiling))
