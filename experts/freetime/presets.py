"""FreeTime's presets: one recipe for all scenes, as FreeTimeGS++ has."""

from __future__ import annotations

from collections.abc import Mapping

from experts.freetime.recipe import FreeTimeRecipe
from experts.training.presets import TrainingPreset, per_scene

PRESETS: Mapping[str, TrainingPreset] = per_scene(lambda layout, scene: TrainingPreset(recipe=FreeTimeRecipe()))
