"""FreeTime's presets: one recipe for all scenes, as FreeTimeGS++ has."""

from __future__ import annotations

from collections.abc import Mapping

from experts.freetime.recipe import FreeTimeRecipe
from experts.training.recipes.presets import TrainingPreset, per_scene
from experts.training.recipes.recipe import scaled_recipe

FAST_ITERATIONS = 12000


def _fast(recipe: FreeTimeRecipe) -> FreeTimeRecipe:
    """The recipe in fewer iterations."""
    return scaled_recipe(recipe, FAST_ITERATIONS)


PRESETS: Mapping[str, TrainingPreset] = per_scene(
    lambda layout, scene: TrainingPreset(recipe=FreeTimeRecipe()), fast=_fast
)
