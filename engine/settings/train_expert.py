"""Settings of an expert's training, from its arguments and files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from engine.errors import ConfigError
from engine.settings.command_line import config_path, flag, parse_arguments
from engine.settings.config_file import read_object, settings_of_object, write_config_file
from engine.settings.experts import KEYS, WITH_PLANES, WITH_SEGMENTS
from engine.settings.fields import leaves, with_values
from engine.settings.recipe import flattened, parse_setting, setting_arguments
from engine.settings.retired import RETIRED
from engine.settings.run import DataConfig, DeviceConfig

EXPERT_CONFIG_FILE = "train_expert_config.json"
AUTO = "auto"
_GIVEN_BY_SET = "a recipe's settings are given by --set name=value, with the names of docs/train_expert.md"
RECIPE_NAMES = dict.fromkeys(RETIRED, _GIVEN_BY_SET)  # as the experts' own trainers call their settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertDataConfig(DataConfig):
    """The scene, the part of it to use, and the points of the first Gaussians."""

    cache_path: Annotated[
        Path | None,
        flag(
            "folder of decoded frames, which several trainings may share; default: <model_path>/cache", metavar="PATH"
        ),
    ] = None
    points: Annotated[
        Path | None,
        flag("file of start points (.ply, .npz, points3D.bin); default: what the scene's folder has", metavar="PATH"),
    ] = None
    max_points: Annotated[int | None, flag("thin start points evenly to this many; default: all", metavar="INT")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertOutputConfig:
    """The results, and the iterations that write them."""

    model_path: Annotated[Path | None, flag("folder of the trained expert", "-m", metavar="PATH")] = None
    save_iterations: Annotated[
        tuple[int, ...], flag("when to save; the last iteration always is", metavar="INT ...")
    ] = ()
    test_iterations: Annotated[
        tuple[int, ...] | None,
        flag("when to score some held-out frames; none given: never; default: at each quarter", metavar="INT ..."),
    ] = None
    test_frames: Annotated[
        int | None, flag("frames of each held-out camera scored at the end, evenly spread; default: all", metavar="INT")
    ] = None
    lpips_weights: Annotated[
        Path | None, flag("LPIPS weights, as render_E4.py takes them; default: the installed packages'", metavar="PATH")
    ] = None
    resume: Annotated[bool, flag("continue the newest save in --model_path")] = False
    overwrite: Annotated[bool, flag("start again although --model_path holds a training")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeConfig:
    """The training of the expert; the preset gives what is not set here."""

    preset: Annotated[str, flag("published settings; auto: those of the scene's name, else of its data set")] = AUTO
    iterations: Annotated[
        int | None, flag("length of the training: every schedule shrinks or stretches with it", metavar="INT")
    ] = None
    max_gaussians: Annotated[int | None, flag("most Gaussians of each kind", metavar="INT")] = None
    near: Annotated[
        float | None, flag(f"near plane of {WITH_PLANES}, scene units; default: the preset's", metavar="FLOAT")
    ] = None
    far: Annotated[
        float | None, flag(f"far plane of {WITH_PLANES}, scene units; default: the preset's", metavar="FLOAT")
    ] = None
    batch: Annotated[int | None, flag("images an iteration", metavar="INT")] = None
    dssim: Annotated[
        float | None,
        flag("weight of 1 - SSIM in the loss; where L1's makes up 1 with it, it goes on to", metavar="FLOAT"),
    ] = None
    set: Annotated[
        tuple[str, ...],
        flag("any setting of the recipe, as docs/train_expert.md lists them", metavar="NAME=VALUE ..."),
    ] = ()
    colour_correction: Annotated[
        bool, flag("learn an affine change of colour for each training camera, dropped when rendering")
    ] = True
    segments: Annotated[
        int, flag(f"{WITH_SEGMENTS}: frames of each of its models; 0: the whole clip in one", metavar="INT")
    ] = 150
    segment: Annotated[
        int | None,
        flag(f"{WITH_SEGMENTS}: train this one of them alone, counted from 1; default: all in turn", metavar="INT"),
    ] = None
    seed: Annotated[int, flag("seed of everything random: the same seed gives the same model")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainExpertConfig:
    """All settings of an expert's training; flags and JSON keys are the fields' names, without the groups."""

    expert: Annotated[tyro.conf.Positional[str], flag(KEYS, metavar="EXPERT")] = ""
    config: Annotated[
        Path | None, flag("JSON file of settings, also the recipe's; flags go before it", metavar="PATH")
    ] = None
    data: ExpertDataConfig = field(default_factory=ExpertDataConfig)
    output: ExpertOutputConfig = field(default_factory=ExpertOutputConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    machine: DeviceConfig = field(default_factory=DeviceConfig)


def read_expert_settings(arguments: Sequence[str], *, prog: str, description: str) -> TrainExpertConfig:
    """Settings from the JSON file, then the arguments; --resume without --config takes the file the training left.

    What the file says of the recipe comes first in `recipe.set`, before --set. Raises ConfigError.
    """

    def parsed(defaults: TrainExpertConfig) -> TrainExpertConfig:
        return parse_arguments(
            TrainExpertConfig, arguments, defaults=defaults, prog=prog, description=description, retired=RECIPE_NAMES
        )

    config, path = parsed(TrainExpertConfig()), config_path(arguments)
    if path is None and config.output.resume and config.output.model_path is not None:
        left = config.output.model_path / EXPERT_CONFIG_FILE
        path = left if left.is_file() else None
    if path is None:
        return config
    known = leaves(TrainExpertConfig)
    content = read_object(path)
    own = {key: value for key, value in content.items() if key in known or key == "debug"}
    settings = flattened({key: value for key, value in content.items() if key not in own})
    values = settings_of_object(own, TrainExpertConfig, path)
    first = (*setting_arguments(settings), *values.pop("set", ()))
    config = parsed(with_values(TrainExpertConfig(), values))
    return replace(config, recipe=replace(config.recipe, set=(*first, *config.recipe.set)))


def write_settings(config: TrainExpertConfig, model_path: Path) -> Path:
    """Leaves the settings in a model's folder, for --resume; which segments were asked for is said anew."""
    return write_config_file(
        model_path / EXPERT_CONFIG_FILE, replace(config, recipe=replace(config.recipe, segment=None))
    )


def recipe_values(config: TrainExpertConfig) -> dict[str, Any]:
    """The recipe's settings that --set and the file give, by name; of one given twice the last counts."""
    return dict(parse_setting(argument) for argument in config.recipe.set)


def check_settings(config: TrainExpertConfig) -> None:
    """Raises ConfigError for settings that are missing or out of range."""
    output, recipe, data = config.output, config.recipe, config.data
    if output.model_path is None:
        raise ConfigError("--model_path is missing: give the folder of the trained expert")
    if data.source_path is None:
        raise ConfigError("--source_path is missing: give the folder of the scene")
    positive = {
        name: getattr(recipe, name) for name in ("iterations", "max_gaussians", "near", "far", "batch", "segment")
    }
    positive |= {"test_frames": output.test_frames, "max_points": data.max_points, "cache_mb": data.cache_mb}
    for name, value in positive.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"--{name} is {value}: give more than 0")
    if recipe.near is not None and recipe.far is not None and not recipe.near < recipe.far:
        raise ConfigError(f"--near is {recipe.near:g} and --far {recipe.far:g}: near must be less than far")
    if recipe.dssim is not None and not 0 <= recipe.dssim <= 1:
        raise ConfigError(f"--dssim is {recipe.dssim}: give a weight between 0 and 1")
    if recipe.segments < 0:
        raise ConfigError(f"--segments is {recipe.segments}: give a number of frames, or 0 for the whole clip in one")
    for name in ("test_iterations", "save_iterations"):
        if any(step < 1 for step in getattr(output, name) or ()):
            raise ConfigError(f"--{name} holds {min(getattr(output, name))}: iterations are counted from 1")
    if output.resume and output.overwrite:
        raise ConfigError("--resume and --overwrite exclude each other: give one")
