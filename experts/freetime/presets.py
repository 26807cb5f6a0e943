"""FreeTime's presets: one recipe for all scenes, as FreeTimeGS++ has."""

from __future__ import annotations

from collections.abc import Mapping

from experts.freetime.recipe import FreeTimeRecipe
from experts.training.generalisation.settings import Generalisation
from experts.training.recipes.presets import DataLayout, TrainingPreset, per_scene
from experts.training.recipes.recipe import scaled_recipe

FAST_ITERATIONS = 6000  # with which it was compared with the other experts (docs/dev/expert_training.md)


def _fast(recipe: FreeTimeRecipe) -> FreeTimeRecipe:
    """The recipe in fewer iterations."""
    return scaled_recipe(recipe, FAST_ITERATIONS)


# Of scenes that nobody published: 0.25 to 0.4 dB at held-out cameras of a dome, and nothing lost on a rig that looks
# forward (docs/dev/expert_training.md).
NOT_TINY = Generalisation(smallest_px=0.3)


def _preset(layout: DataLayout, scene: str) -> TrainingPreset:
    return TrainingPreset(recipe=FreeTimeRecipe() if scene else FreeTimeRecipe(generalise=NOT_TINY))


PRESETS: Mapping[str, TrainingPreset] = per_scene(_preset, fast=_fast)
