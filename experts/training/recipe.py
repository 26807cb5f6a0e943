"""The part that all recipes have: a table whose entries differ from expert to expert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from experts.training.density import Density
from experts.training.generalisation.settings import Generalisation
from experts.training.rates import OptimiserKind, Rate
from experts.training.recipe_fields import ITERATIONS, scaled_fields

BackgroundKind = Literal["own", "random"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training of an expert. Schedules belong to `iterations`; `scaled_recipe` changes all together."""

    iterations: int = field(metadata=ITERATIONS)
    rates: Mapping[str, Rate] = field(default_factory=dict)  # by parameter name or prefix
    rate_iterations: int = field(metadata=ITERATIONS)  # over which rates fall from first to last
    optimiser: OptimiserKind = "adam"
    batch: int = 1  # images an iteration
    sh_every: int = field(default=1000, metadata=ITERATIONS)  # iterations after which SH gain a degree
    sh_degree: int = 3  # highest
    l1: float = 0.8
    dssim: float = 0.2  # weight of 1 - SSIM
    background: BackgroundKind = "own"  # the expert's own colour, or another random one for each image
    density: Density = field(default_factory=Density)
    generalise: Generalisation = field(default_factory=Generalisation)

    def active_degree(self, iteration: int) -> int:
        """Degree of spherical harmonics in use at an iteration, counted from 1."""
        return min(self.sh_degree, iteration // self.sh_every)


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def scaled_recipe(recipe: AnyRecipe, iterations: int) -> AnyRecipe:
    """The recipe for a training of another length: all its schedules shrink or stretch with it."""
    if iterations < 1:
        raise ValueError(f"iterations is {iterations}: give at least 1")
    longer = scaled_fields(recipe, iterations / recipe.iterations)
    return replace(longer, iterations=iterations)
