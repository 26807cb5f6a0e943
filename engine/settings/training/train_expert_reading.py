"""Settings of an expert's training read from its arguments and files, its help, and the file that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.settings.parsing.command_help import CommandHelp, check_required
from engine.settings.parsing.command_line import config_path, parse_arguments
from engine.settings.parsing.config_file import read_object, settings_of_object, write_config_file
from engine.settings.parsing.earlier import unsaved_settings
from engine.settings.parsing.fields import leaves, values_of, with_values
from engine.settings.parsing.retired import RETIRED
from engine.settings.training.moved import log_moved, moved_inputs
from engine.settings.training.recipe import flattened, setting_arguments
from engine.settings.training.run import RunConfig
from engine.settings.training.train_expert import TrainExpertConfig
from experts import TRAINABLE, ExpertSpec
from scenes.layouts import LAYOUTS

EXPERT_CONFIG_FILE = "train_expert_config.json"
_GIVEN_BY_SET = "settings of a recipe are given by --set name=value; train_expert.json of a training lists their names"
RECIPE_NAMES = dict.fromkeys(RETIRED, _GIVEN_BY_SET)  # as the experts' own trainers call their settings


def read_expert_settings(arguments: Sequence[str], *, prog: str, description: str) -> TrainExpertConfig:
    """Settings from the JSON file, then the arguments; --resume without --config takes the file the training left.

    What the file says of the recipe comes first in `recipe.set`, before --set. Raises ConfigError.
    """

    page = expert_page(prog, description, arguments)

    def parsed(defaults: TrainExpertConfig) -> TrainExpertConfig:
        return parse_arguments(TrainExpertConfig, arguments, defaults=defaults, page=page, retired=RECIPE_NAMES)

    config, path = parsed(TrainExpertConfig()), config_path(arguments)
    left = config.output.model_path / EXPERT_CONFIG_FILE if config.output.model_path is not None else None
    if path is None and config.output.resume and left is not None and left.is_file():
        path = left
    if path is None:
        check_required(config, page)
        return config
    known = leaves(TrainExpertConfig)
    content = read_object(path)
    own = {key: value for key, value in content.items() if key in known or key == "debug"}
    settings = flattened({key: value for key, value in content.items() if key not in own})
    of_router = [key for key in settings if key in leaves(RunConfig)]
    if of_router:
        raise ConfigError(
            f"{path}: {of_router[0]} is a setting of the router's training; leave --config out here, and give the file "
            "to the training of the router"
        )
    saved = settings_of_object(own, TrainExpertConfig, path)
    moved = moved_inputs(saved, path.parent) if path == left else {}
    values = (unsaved_settings(content | moved) if path == left else {}) | saved | moved
    first = (*setting_arguments(settings), *values.pop("set", ()))
    config = parsed(with_values(TrainExpertConfig(), values))
    check_required(config, page)
    used = values_of(config)
    log_moved({name: place for name, place in moved.items() if used[name] == place}, saved)
    return replace(config, recipe=replace(config.recipe, set=(*first, *config.recipe.set)))


def expert_page(prog: str, about: str, arguments: Sequence[str]) -> CommandHelp:
    """The help of `moegs.py train-expert`: of the expert that the arguments name, else of all."""
    named = [spec for spec in TRAINABLE.values() if spec.key in arguments]
    specs = named[:1] or list(TRAINABLE.values())
    hidden = [] if any(spec.has_planes for spec in specs) else ["near", "far"]
    hidden += [] if any(spec.segments is not None for spec in specs) else ["segments", "segment"]
    key = specs[0].key if named else "stg"
    start = f"python {prog} {key} --source_path data/N3V/flame_steak --resolution 2"
    folders = f"\\\n    --model_path output/experts/{key}/flame_steak"
    return CommandHelp(
        prog=prog,
        about=about,
        required=("expert", "source_path", "model_path"),
        hidden=tuple(hidden),
        texts={
            "iterations": "training iterations; every schedule scales with them; default: "
            f"{_defaults(specs, 'iterations')}, or the scene's preset",
            "batch": f"images per iteration; default: {_defaults(specs, 'batch')}, or the scene's preset",
            "dssim": f"weight w of 1 - SSIM in the loss; default: {_defaults(specs, 'dssim')}; L1 keeps weight 1 - w "
            "if the preset's weights sum to 1",
            "max_gaussians": "maximum number of Gaussians, per segment; default: "
            f"{_defaults(specs, 'density.max_gaussians')}",
        },
        examples=(
            f"{start} {folders}",
            f"{start} {folders} \\\n    --iterations 10000 --set density.gradient=1e-4",
            f"python {prog} {key} --resume \\\n    --model_path output/experts/{key}/flame_steak",
        ),
    )


def _defaults(specs: Sequence[ExpertSpec], setting: str) -> str:
    """A setting's value in the experts' presets of layouts: "30000"; of several experts "Ex4DGS 40000, STG 30000"."""
    said = []
    for spec in specs:
        known = spec.training.presets  # a layout without one trains as GENERIC
        presets = {layout.title: known[name].recipe for name, layout in LAYOUTS.items() if name in known}
        values = {title: _word(reduce(getattr, setting.split("."), recipe)) for title, recipe in presets.items()}
        same = len(set(values.values())) == 1
        text = next(iter(values.values())) if same else " or ".join(f"{v} ({t})" for t, v in values.items())
        said.append(f"{spec.name} {text}" if len(specs) > 1 else text)
    return ", ".join(said)


def _word(value: Any) -> str:
    return "no limit" if value is None else str(value)


def write_settings(config: TrainExpertConfig, model_path: Path) -> Path:
    """Leaves the settings in a model's folder, for --resume; which segment or window was asked for is said anew."""
    return write_config_file(
        model_path / EXPERT_CONFIG_FILE, replace(config, recipe=replace(config.recipe, segment=None, window=None))
    )
