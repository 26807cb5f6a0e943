"""STG's recipes by data set and scene, after its config files for the full model; other scenes get the default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from experts.stg.recipe import THINNINGS, STGRecipe, in_mode, stg_rates

Dataset = Literal["n3v", "technicolor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A row of the tables; iterations are those after which STG's authors test, where training on makes it worse."""

    scales: float  # learning rate
    mode: int  # of densification
    thinning: int = 3  # STG's number
    densifications: int = 6
    window: float = 1.0  # exp(trbf_log_width): share of the segment
    iterations: int = 30000


_N3V = Preset(scales=1.5e-3, mode=1)
_TECHNICOLOR = Preset(scales=5e-3, mode=3, densifications=12, window=math.exp(-2.0))

PRESETS: Mapping[Dataset, Mapping[str, Preset]] = MappingProxyType(
    {
        "n3v": {
            "coffee_martini": Preset(scales=3e-3, mode=2, iterations=10000),
            "cook_spinach": _N3V,
            "cut_roasted_beef": _N3V,
            "flame_salmon_1": Preset(scales=3e-3, mode=2, iterations=12000),
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
OTHERS: Mapping[Dataset, Preset] = MappingProxyType({"n3v": _N3V, "technicolor": _TECHNICOLOR})


def stg_recipe(dataset: Dataset, scene: str) -> STGRecipe:
    """The recipe for a scene of a data set's layout; scenes that are not of the data set get its most common row."""
    preset = PRESETS[dataset].get(scene, OTHERS[dataset])
    recipe = STGRecipe(
        iterations=preset.iterations,
        rates=stg_rates(scales=preset.scales),
        densifications=preset.densifications,
        thinning=THINNINGS[preset.thinning],
        trbf_log_width=math.log(preset.window),
    )
    return in_mode(recipe, preset.mode)
