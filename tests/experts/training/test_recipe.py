"""Recipes of another length."""

from __future__ import annotations

from dataclasses import dataclass, field

from experts.training.recipes.recipe import Density, Recipe, scaled_recipe
from experts.training.recipes.recipe_fields import INTERVAL, ITERATIONS


@dataclass(frozen=True, kw_only=True)
class Longer(Recipe):
    resets: tuple[int, ...] = field(default=(3000, 6000), metadata=ITERATIONS)
    grow: int = field(default=400, metadata=INTERVAL)


def test_all_schedules_scale():
    recipe = Longer(iterations=30000, rate_iterations=20000, density=Density(stop=9000, reset_every=None))
    short = scaled_recipe(recipe, 3000)
    assert (short.iterations, short.rate_iterations, short.sh_every) == (3000, 2000, 100)
    assert short.resets == (300, 600) and short.grow == 50
    assert (short.density.start, short.density.stop, short.density.every) == (50, 900, 50)
    assert short.density.reset_every is None and short.density.gradient == recipe.density.gradient
    long = scaled_recipe(recipe, 60000)
    assert (long.density.every, long.grow) == (200, 800)


def test_harmonics_gain_a_degree_every_so_many_iterations_up_to_the_highest():
    recipe = Longer(iterations=30000, rate_iterations=30000, sh_every=100, sh_degree=2)
    assert [recipe.active_degree(iteration) for iteration in (1, 99, 100, 199, 200, 5000)] == [0, 0, 1, 1, 2, 2]
