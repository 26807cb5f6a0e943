"""The part that all recipes have: a table whose entries differ from expert to expert."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from experts.training.generalisation.settings import Generalisation
from experts.training.recipes.recipe_fields import (
    COUNT,
    DEGREE,
    INTERVAL,
    ITERATIONS,
    PERIOD,
    POSITIVE,
    POSITIVE_SHARE,
    SHARE,
    scaled_fields,
)

OptimiserKind = Literal["adam", "radam"]
DensityKind = Literal["densify", "relocate"]
NetworkPrecision = Literal["float32", "tf32"]  # of their matrix products; tf32: on a GPU, products have 11 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A learning rate, log-linear from first to last, or constant."""

    first: float
    last: float | None = field(default=None, metadata=POSITIVE)  # None: constant
    per_extent: bool = False  # multiplied by the scene's extent, as 3DGS does for lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """Schedule and thresholds for adding and removing Gaussians.

    kind: "densify" clones, splits, prunes and resets opacities (Kerbl et al. 2023). "relocate" grows to max_gaussians
    and makes dead Gaussians copies of living ones (Kheradmand et al. 2024); of the table it uses start, stop, every,
    smallest_opacity, max_gaussians and noise.
    """

    kind: DensityKind = "densify"
    start: int = field(default=500, metadata=ITERATIONS)  # after this iteration
    stop: int = field(default=15000, metadata=ITERATIONS)  # before this one
    every: int = field(default=100, metadata=INTERVAL)
    gradient: float = 2e-4  # mean length of the screen-space gradient from which on, NDC units
    dense: float = 0.01  # largest scale of what is cloned, not split; times the extent
    prune_every: int = field(default=100, metadata=INTERVAL)
    prune_above: int = 0  # prune only where there are more Gaussians than this
    smallest_opacity: float = field(default=0.005, metadata=SHARE)
    largest_radius: float | None = None  # px; None: no such pruning
    largest_scale: float | None = None  # times the extent
    reset_every: int | None = field(default=None, metadata=PERIOD)
    reset_to: float = field(default=0.01, metadata=POSITIVE_SHARE)  # highest opacity after a reset
    max_gaussians: int | None = field(default=None, metadata=COUNT)
    noise: float = 0.0  # weight of the random motion of faint Gaussians, with "relocate"; published: 5e5

    def densifies(self, iteration: int) -> bool:
        """True for an iteration that ends with cloning and splitting."""
        return self._within(iteration) and iteration % self.every == 0

    def prunes(self, iteration: int) -> bool:
        """True for an iteration that ends with pruning."""
        return self._within(iteration) and iteration % self.prune_every == 0

    def resets(self, iteration: int) -> bool:
        """True for an iteration that ends with making all Gaussians faint."""
        return self.reset_every is not None and iteration < self.stop and iteration % self.reset_every == 0

    def _within(self, iteration: int) -> bool:
        return self.start < iteration < self.stop


BackgroundKind = Literal["own", "random"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training of an expert. Schedules belong to `iterations`; `scaled_recipe` changes all together."""

    iterations: int = field(metadata=ITERATIONS)
    rates: Mapping[str, Rate] = field(default_factory=dict)  # by parameter name or prefix
    rate_iterations: int = field(metadata=PERIOD)  # over which rates fall from first to last
    optimiser: OptimiserKind = "adam"
    batch: int = field(default=1, metadata=COUNT)  # images an iteration, of all ranks
    rates_times: float = field(default=1.0, metadata=POSITIVE)  # all rates are multiplied by it
    sh_every: int = field(default=1000, metadata=PERIOD)  # iterations after which SH gain a degree
    sh_degree: int = field(default=3, metadata=DEGREE)  # highest
    l1: float = 0.8
    dssim: float = field(default=0.2, metadata=SHARE)  # weight of 1 - SSIM
    background: BackgroundKind = "own"  # the expert's own colour, or another random one for each image
    density: Density = field(default_factory=Density)
    generalise: Generalisation = field(default_factory=Generalisation)

    def active_degree(self, iteration: int) -> int:
        """Degree of spherical harmonics in use at an iteration, counted from 1."""
        return min(self.sh_degree, iteration // self.sh_every)

    def budget(self, pixels: int) -> int | None:
        """Most Gaussians of a training whose images have so many pixels; None: no limit."""
        return self.density.max_gaussians

    def rates_for(self, times: int) -> float:
        """Factor on the rates of a batch that is so many times as large: its root (Malladi et al. 2022, for Adam)."""
        return math.sqrt(times)


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def scaled_recipe(recipe: AnyRecipe, iterations: int) -> AnyRecipe:
    """The recipe for a training of another length: all its schedules shrink or stretch with it."""
    if iterations < 1:
        raise ValueError(f"iterations is {iterations}: give at least 1")
    longer = scaled_fields(recipe, iterations / recipe.iterations)
    return replace(longer, iterations=iterations)


def recipe_for_ranks(recipe: AnyRecipe, count: int) -> AnyRecipe:
    """The recipe for `count` ranks that train one model: as many images in fewer iterations.

    Each rank has the recipe's batch, iterations and schedules are divided by the ranks, and rates grow.
    """
    shorter = scaled_recipe(recipe, max(1, round(recipe.iterations / count)))
    times = recipe.rates_for(count) * recipe.rates_times
    return replace(shorter, batch=count * recipe.batch, rates_times=times)
