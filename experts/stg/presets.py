"""STG's recipes by data set and scene, after its config files for the full model; other scenes get the default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from experts.stg.recipe import THINNINGS, STGRecipe, in_mode, stg_rates
from experts.training.recipes.presets import DataLayout, Planes, TrainingPreset, capped, known_planes, per_scene
from experts.training.recipes.recipe import scaled_recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """A row of the tables; iterations are those after which STG's authors test, where training on makes it worse."""

    scales: float  # learning rate
    mode: int  # of densification
    thinning: int = 3  # STG's number
    densifications: int = 6
    window: float = 1.0  # exp(trbf_log_width): share of the segment
    iterations: int = 30000


_N3V = _Scene(scales=1.5e-3, mode=1)
_TECHNICOLOR = _Scene(scales=5e-3, mode=3, densifications=12, window=math.exp(-2.0))

SCENE_TABLES: Mapping[DataLayout, Mapping[str, _Scene]] = MappingProxyType(
    {
        "n3v": {
            "coffee_martini": _Scene(scales=3e-3, mode=2, iterations=10000),
            "cook_spinach": _N3V,
            "cut_roasted_beef": _N3V,
            "flame_salmon_1": _Scene(scales=3e-3, mode=2, iterations=12000),
            "flame_steak": _N3V,
            "sear_steak": _N3V,
        },
        "technicolor": {
            "Birthday": _TECHNICOLOR,
            "Fabien": replace(_TECHNICOLOR, thinning=0),
            "Painter": replace(_TECHNICOLOR, thinning=0),
            "Theater": _TECHNICOLOR,
            "Train": _TECHNICOLOR,
        },
    }
)
OTHERS: Mapping[DataLayout, _Scene] = MappingProxyType({"n3v": _N3V, "technicolor": _TECHNICOLOR})


def stg_recipe(layout: DataLayout, scene: str) -> STGRecipe:
    """The recipe for a scene of a data set's layout; scenes that are not of the data set get its most common row."""
    row = SCENE_TABLES[layout].get(scene, OTHERS[layout])
    recipe = STGRecipe(
        iterations=row.iterations,
        rates=stg_rates(scales=row.scales),
        densifications=row.densifications,
        thinning=THINNINGS[row.thinning],
        trbf_log_width=math.log(row.window),
    )
    return in_mode(recipe, row.mode)


def _preset(layout: DataLayout, scene: str) -> TrainingPreset:
    """A scene's preset, with MoE-GS's culling planes, as its configs have them."""
    planes = Planes(near=4.0 if layout == "n3v" else 0.01, far=300.0)
    return TrainingPreset(recipe=stg_recipe(layout, scene), planes=known_planes(layout, scene, planes))


FAST_ITERATIONS = 20000  # of a segment
FAST_PART = 2 / 3  # of the scene's own iterations, at most
FAST_MOST = 150_000  # Gaussians of a segment


def _fast(recipe: STGRecipe) -> STGRecipe:
    """The recipe in fewer iterations, with a limit on Gaussians."""
    iterations = min(FAST_ITERATIONS, round(FAST_PART * recipe.iterations))
    return capped(scaled_recipe(recipe, iterations), FAST_MOST)


PRESETS: Mapping[str, TrainingPreset] = per_scene(_preset, fast=_fast)
