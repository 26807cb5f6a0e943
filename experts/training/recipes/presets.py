"""Published settings of an expert, by scene and by layout of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from experts.training.recipes.recipe import Recipe

DataLayout = str  # a kind of scene folder
GENERIC = "n3v"  # the layout whose presets serve layouts without published settings
FAST = "fast"  # asks for the row "fast_<name>" in the place of a scene's or a layout's row "<name>"

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)

SCENES: Mapping[DataLayout, tuple[str, ...]] = {
    "n3v": ("coffee_martini", "cook_spinach", "cut_roasted_beef", "flame_salmon_1", "flame_steak", "sear_steak"),
    "technicolor": ("Birthday", "Fabien", "Painter", "Theater", "Train"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """Culling planes."""

    near: float
    far: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPreset:
    """Published settings, of a scene or of a data set."""

    recipe: Recipe
    planes: Planes | None = None  # in the model's units; None: fixed by the expert, or to be measured
    network: Any = None  # sizes that the expert's first model has, where its recipe does not say


def per_scene(
    preset: Callable[[DataLayout, str], TrainingPreset], *, fast: Callable[[Any], Recipe] | None = None
) -> dict[str, TrainingPreset]:
    """A preset for every published scene, and one for each layout, for scenes that nobody published (name "").

    fast: makes a recipe short; for each of these rows "<name>" there is then a row "fast_<name>".
    """
    published = {scene: preset(layout, scene) for layout, scenes in SCENES.items() for scene in scenes}
    rows = published | {layout: preset(layout, "") for layout in SCENES}
    if fast is None:
        return rows
    return rows | {fast_name(name): replace(row, recipe=fast(row.recipe)) for name, row in rows.items()}


def capped(recipe: AnyRecipe, most: int) -> AnyRecipe:
    """The recipe with at most so many Gaussians, or fewer where it says so."""
    own = recipe.density.max_gaussians
    return replace(recipe, density=replace(recipe.density, max_gaussians=most if own is None else min(own, most)))


def fast_name(name: str) -> str:
    """The name of a row's short training."""
    return f"{FAST}_{name}"


def known_planes(layout: DataLayout, scene: str, planes: Planes) -> Planes | None:
    """The planes where they fit: N3V's published ones fit its scenes alone, others are measured (None)."""
    return planes if scene or layout == "technicolor" else None
