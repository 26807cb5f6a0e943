"""4DGaussians' published presets: recipe and network, by data set and by scene (Wu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from experts.fourdgaussians.recipe import (
    RATES,
    FourDGaussiansOptions,
    FourDGaussiansRecipe,
    NetworkShape,
    PlaneWeights,
    as_published,
)
from experts.training.recipes.presets import DataLayout, TrainingPreset, capped, per_scene
from experts.training.recipes.recipe import Density, Rate, scaled_recipe

_SPACE_CELLS, _FEWEST_TIME_CELLS = 64, 8
_COLOUR_AND_OPACITY_STAY = FourDGaussiansOptions(no_do=True, no_dshs=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetNetwork:
    """The network of a preset, for clips of any length."""

    options: FourDGaussiansOptions = field(default_factory=FourDGaussiansOptions)
    width: int = 128  # of the network
    channels: int = 16  # of a plane
    levels: tuple[int, ...] = (1, 2)  # by which 64 cells along x, y and z are multiplied

    def shape(self, num_frames: int) -> NetworkShape:
        """The network for a clip, with a cell in time for every second frame, as published."""
        time = max(_FEWEST_TIME_CELLS, num_frames // 2)
        resolutions = tuple((*[_SPACE_CELLS * level] * 3, time) for level in self.levels)
        return NetworkShape(width=self.width, channels=self.channels, resolutions=resolutions)


_N3V = FourDGaussiansRecipe()
_SIZES_COUNT = Density(stop=10000, max_gaussians=360_000, reset_every=3000, largest_radius=20.0, largest_scale=0.1)
_D_NERF = replace(
    _N3V,
    iterations=23000,
    batch=1,
    rates={
        **RATES,
        "deformation": Rate(first=1.6e-4, last=1.6e-6, per_extent=True),
        "deformation.deformation_net.grid": Rate(first=1.6e-3, last=1.6e-5, per_extent=True),
    },
    density=replace(_SIZES_COUNT, stop=15000, prune_every=8000),
    planes=PlaneWeights(space=1e-4, time=0.01),
)

N3V_PRESET = TrainingPreset(recipe=_N3V, network=PresetNetwork())
DATA_SETS: Mapping[str, TrainingPreset] = {
    "N3V_published": TrainingPreset(recipe=as_published(_N3V), network=PresetNetwork()),
    "multipleview": TrainingPreset(
        recipe=replace(_N3V, iterations=18000, batch=1, density=_SIZES_COUNT), network=PresetNetwork()
    ),
    "D-NeRF": TrainingPreset(
        recipe=_D_NERF, network=PresetNetwork(options=_COLOUR_AND_OPACITY_STAY, width=64, channels=32)
    ),
    # ours: for small images, a tenth of the size
    "small": TrainingPreset(recipe=_N3V, network=PresetNetwork(width=64, channels=8, levels=(1,))),
    "HyperNeRF": TrainingPreset(recipe=_N3V, network=PresetNetwork(options=_COLOUR_AND_OPACITY_STAY, levels=(1, 2, 4))),
}

BATCHES: Mapping[str, int] = {  # images an iteration of N3V's scenes
    "coffee_martini": 4,
    "flame_salmon_1": 4,
    "cook_spinach": 2,
    "cut_roasted_beef": 2,
    "flame_steak": 2,
    "sear_steak": 2,
}


# Of scenes that nobody published: 0.4 dB at held-out cameras of a dome and a better LPIPS, and nothing lost on a rig
# that looks forward (docs/dev/expert_training.md).
FEW_HARMONICS = 1


def _preset(layout: DataLayout, scene: str) -> TrainingPreset:
    """N3V's, with the scene's own batch.

    Technicolor and other footage of several cameras, for which nothing is published, is trained as N3V.
    """
    if not scene:
        return replace(N3V_PRESET, recipe=replace(_N3V, sh_degree=FEW_HARMONICS))
    return replace(N3V_PRESET, recipe=replace(_N3V, batch=BATCHES.get(scene, _N3V.batch)))


FAST_IMAGES = 34_000  # at most: all of most scenes, half where an iteration has four images
FAST_MOST = 125_000  # Gaussians


def _fast(recipe: FourDGaussiansRecipe) -> FourDGaussiansRecipe:
    """The recipe in TF32, in fewer iterations where they have many images, with a limit on Gaussians."""
    short = scaled_recipe(recipe, min(recipe.iterations, FAST_IMAGES // recipe.batch))
    return replace(capped(short, FAST_MOST), networks="tf32")


PRESETS: Mapping[str, TrainingPreset] = {**per_scene(_preset, fast=_fast), **DATA_SETS}
