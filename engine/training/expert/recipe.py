"""The recipe of a training: its preset's, changed by what the user gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from common import ranks
from common.text.wording import counted
from engine.errors import ConfigError
from engine.settings.training.recipe import with_settings
from engine.settings.training.train_expert import TrainExpertConfig, recipe_values
from experts import ExpertSpec
from experts.training.recipes.presets import TrainingPreset
from experts.training.recipes.recipe import Recipe, recipe_for_ranks, scaled_recipe
from experts.training.recipes.recipe_fields import check_fields


def recipe_for(config: TrainExpertConfig, spec: ExpertSpec, preset: TrainingPreset) -> Recipe:
    """The preset's recipe, of the asked length, with what the file and --set say, then the flags.

    Several ranks share as many images in fewer iterations, unless --batch says how many an iteration has. ConfigError
    for a value that is out of its range.
    """
    recipe, asked = preset.recipe, config.recipe
    if asked.iterations is not None:
        recipe = scaled_recipe(recipe, asked.iterations)
    if ranks.count() > 1 and asked.batch is None:
        recipe = recipe_for_ranks(recipe, ranks.count())
    recipe = with_settings(recipe, recipe_values(config), where="recipe")
    flags = {"batch": asked.batch, "dssim": asked.dssim, "density.max_gaussians": asked.max_gaussians}
    given = {name: value for name, value in flags.items() if value is not None}
    if asked.dssim is not None and math.isclose(recipe.l1 + recipe.dssim, 1):
        given["l1"] = 1 - asked.dssim
    if not spec.has_planes and (asked.near is not None or asked.far is not None):
        flag = "--near" if asked.near is not None else "--far"
        raise ConfigError(f"{flag} is not used by {spec.name}, whose planes are fixed; leave it out")
    recipe = with_settings(recipe, given, where="the flags")
    if 1 <= recipe.batch < ranks.count():
        shared = f"{counted(ranks.count(), 'rank')} share the images of an iteration"
        raise ConfigError(f"--batch is {recipe.batch}: {shared}; give {ranks.count()} or more, or leave it out")
    with as_config_error(spec):
        check_fields(recipe)
    return recipe


@contextmanager
def as_config_error(spec: ExpertSpec) -> Iterator[None]:
    """Turns a ValueError in the block into a ConfigError that names the expert."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{spec.name} cannot be trained like this: {error}") from error
