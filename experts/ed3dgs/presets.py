"""E-D3DGS's published settings: N3V with one scene of its own, Technicolor with a table of scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from experts.ed3dgs.recipe import ED3DGSRecipe, ed3dgs_rates
from experts.training.recipes.presets import DataLayout, TrainingPreset, capped, per_scene
from experts.training.recipes.recipe import Density, scaled_recipe

_UNTIL = 80000

ED3DGS_N3V = ED3DGSRecipe(scale_free=False)

# Scenes with values of their own; the names of the others tell that the published world units are theirs.
ED3DGS_N3V_SCENES: dict[str, ED3DGSRecipe] = {
    "coffee_martini": ED3DGS_N3V,
    "cook_spinach": ED3DGS_N3V,
    "cut_roasted_beef": ED3DGS_N3V,
    "flame_salmon": ED3DGS_N3V,
    "flame_steak": replace(ED3DGS_N3V, density=replace(ED3DGS_N3V.density, gradient=2e-4)),
    "sear_steak": ED3DGS_N3V,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """Differences between Technicolor's scenes."""

    iterations: int = _UNTIL
    smooth: float = 1.0
    network: tuple[float, float] = (1.6e-3, 1.6e-4)

    def recipe(self) -> ED3DGSRecipe:
        first, last = self.network
        return ED3DGSRecipe(
            iterations=self.iterations,
            rate_iterations=self.iterations,
            rates=ed3dgs_rates(network=first, network_last=last, offsets=0.0),
            density=Density(start=500, stop=self.iterations, gradient=3e-4),
            errors_from=60000,
            smooth=self.smooth,
            anneal=False,
            deform_from=0,
            coarse_to_fine=None,
            deform_colours=False,
            zero_table=True,
            scale_free=False,
        )


_LONG = 120000
ED3DGS_TECHNICOLOR = _Scene().recipe()
ED3DGS_TECHNICOLOR_SCENES: dict[str, ED3DGSRecipe] = {
    scene: settings.recipe()
    for scene, settings in {
        "Birthday": _Scene(iterations=100000, smooth=0.1),
        "Fabien": _Scene(iterations=_LONG, smooth=0.1),
        "Painter": _Scene(iterations=100000, smooth=0.1),
        "Theater": _Scene(iterations=_LONG, smooth=0.1),
        "Train": _Scene(iterations=_LONG, smooth=0.1, network=(5e-3, 5e-5)),
    }.items()
}


def ed3dgs_recipe(*, technicolor: bool, scene: str) -> ED3DGSRecipe:
    """The published recipe of a scene, by its name or what it begins with ("flame_salmon_1", "Trains").

    Of an unknown Technicolor scene, the default for Technicolor; of any other scene, N3V's in units of its extent.
    """
    scenes = ED3DGS_TECHNICOLOR_SCENES if technicolor else ED3DGS_N3V_SCENES
    known = next((recipe for name, recipe in scenes.items() if scene.startswith(name)), None)
    if known is not None:
        return known
    return ED3DGS_TECHNICOLOR if technicolor else ED3DGSRecipe()


def _preset(layout: DataLayout, scene: str) -> TrainingPreset:
    return TrainingPreset(recipe=ed3dgs_recipe(technicolor=layout == "technicolor", scene=scene))


FAST_ITERATIONS = 20000
FAST_MOST = 150_000  # Gaussians
# On a small scene the published schedule, shrunk, is 0.1 to 0.2 dB worse than one whose phases take these shares of a
# short training (docs/dev/expert_training.md, kitchen_tiny).
FAST_DENSITY_START, FAST_DENSITY_STOP = 2500, 15000
FAST_ERRORS_FROM, FAST_DEFORM_FROM, FAST_COARSE_TO_FINE = 7500, 3000, 10000


def _fast(recipe: ED3DGSRecipe) -> ED3DGSRecipe:
    """The recipe in fewer iterations, with a limit, in TF32. Phases that it lacks, as on Technicolor, stay away."""
    short = capped(scaled_recipe(recipe, FAST_ITERATIONS), FAST_MOST)
    return replace(
        short,
        networks="tf32",
        density=replace(short.density, start=FAST_DENSITY_START, stop=FAST_DENSITY_STOP),
        errors_from=max(short.errors_from, FAST_ERRORS_FROM),
        deform_from=FAST_DEFORM_FROM if short.anneal else short.deform_from,
        coarse_to_fine=None if short.coarse_to_fine is None else FAST_COARSE_TO_FINE,
    )


PRESETS: Mapping[str, TrainingPreset] = per_scene(_preset, fast=_fast)
