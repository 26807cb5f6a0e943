"""Settings of the render scripts; everything else comes from the run that was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from moegs_rasterizer.types import TileRule

from engine.errors import ConfigError
from engine.settings.parsing.command_help import (
    CACHE_GB,
    COVERAGE_GUARD,
    DEBUG,
    DETERMINISTIC,
    FAST,
    FILL_HOLES,
    NOVEL_NEAR,
    CommandHelp,
    flag,
)
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.fields import leaves, values_of
from engine.settings.parsing.paths import check_expert, check_folder, check_target
from engine.settings.rendering.metric_protocols import MetricConfig
from engine.settings.rendering.novel_views import NovelViewConfig, views_name
from engine.settings.rendering.render_maps import MapName
from engine.settings.training.experts import (
    check_novel_near,
    expert_folder_settings,
    folder_argument,
    name_and_folder,
)
from engine.settings.training.run import BackendChoice, DeviceChoice, OnOff, RunConfig
from experts import EXPERTS
from experts.base import Precision
from router import Ensemble, folder_flags

Split = Literal["train", "test"]
WITHOUT = "name of an expert to leave out; the gates are those of the others"
EncoderChoice = Literal["software", "nvenc", "auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChoiceConfig:
    """The run, and the part of it to render."""

    save_path: Annotated[Path | None, flag("folder of the trained run", metavar="PATH")] = None
    iteration: Annotated[int, flag("saved iteration to render; -1: the newest")] = -1
    seeds: Annotated[
        int | None,
        flag("of a training with --seeds: render this many, from the smallest seed on; default: all", metavar="INT"),
    ] = None
    skip_train: Annotated[bool, flag("do not render the training cameras")] = False
    skip_test: Annotated[bool, flag("do not render the held-out cameras")] = False
    save_img: Annotated[bool, flag("also write PNGs of every frame: mixture, recorded frame, experts, gates")] = False
    maps: Annotated[
        tuple[MapName, ...],
        flag(
            "more videos: truth (recorded frames), error, winner (the expert with the largest gate), depth, alpha "
            "(opacity), grid (all side by side)",
            metavar="NAME ...",
        ),
    ] = ()
    encoder: Annotated[
        EncoderChoice,
        flag(
            "encoder of the videos; software: libx264 on the CPU; nvenc: the GPU's; auto: nvenc where the GPU has it, "
            "else software"
        ),
    ] = "software"


@dataclass(frozen=True, kw_only=True)
class _SourceConfig:
    source_path: Annotated[Path | None, flag("folder of the scene, if it was moved", "-s", metavar="PATH")] = None
    cache_path: Annotated[
        Path | None,
        flag("folder of decoded frames, if not <source_path>/frame_cache or below <save_path>", metavar="PATH"),
    ] = None
    cache_gb: Annotated[float | None, flag(CACHE_GB + "; default: as in training", metavar="FLOAT")] = None


_Folders: Any = expert_folder_settings(
    lambda spec: f"folder of the {spec.name} model, if it was moved", after=(_SourceConfig,)
)


@dataclass(frozen=True, kw_only=True)
class FoldersByName(_SourceConfig):
    """Folders of experts that were moved, given by name."""

    expert: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag("folder of an expert that was moved; NAME is its name in the results", metavar="NAME=PATH"),
    ] = ()


_ByName: Any = FoldersByName  # so that mypy lets the group stand in the place of OverridesConfig


@dataclass(frozen=True, kw_only=True)
class _ReplacedConfig:
    eval_temperature: Annotated[
        float | None, flag("softmax temperature; default: the one saved with the run", metavar="FLOAT")
    ] = None
    novel_near: Annotated[float | None, flag(NOVEL_NEAR + "as in training", metavar="FLOAT")] = None
    coverage_guard: Annotated[OnOff | None, flag(COVERAGE_GUARD + "; default: as in training", metavar="{on,off}")] = (
        None
    )
    towards_mean: Annotated[
        float | None,
        flag(
            "share of the uniform mean in the gates of views that were not trained on, 0 to 1; default: the judge's, "
            "where the training had --router_cameras, else 0",
            metavar="FLOAT",
        ),
    ] = None
    fill_holes: Annotated[OnOff | None, flag(FILL_HOLES + "; default: as in training", metavar="{on,off}")] = None
    device: Annotated[
        DeviceChoice | None,
        flag("where to compute; default: the GPU if there is one, else the CPU", metavar="{auto,cpu,cuda}"),
    ] = None
    backend: Annotated[
        BackendChoice | None,
        flag("rasterizer; default: the fastest of the device", metavar="{auto,cuda,cpu,torch}"),
    ] = None
    deterministic: Annotated[bool, flag(DETERMINISTIC + "; default: as in training")] = False
    tile_rule: Annotated[
        TileRule | None, flag("extent of a splat; default: as in training", metavar="{exact,inria}")
    ] = None
    network_precision: Annotated[
        Precision | None,
        flag("arithmetic of the experts' networks; default: as in training", metavar="{float32,tf32,float16,bfloat16}"),
    ] = None


OF_RESULTS = (
    "eval_temperature",
    "novel_near",
    "coverage_guard",
    "towards_mean",
    "fill_holes",
)  # which metrics.json holds
OF_IMAGES = (*OF_RESULTS, "tile_rule", "network_precision")  # by which a run's images differ


def check_not_of_results(overrides: _ReplacedConfig) -> None:
    """Raises ConfigError for a setting that results were made with, where a command reads results."""
    for name in OF_RESULTS:
        if getattr(overrides, name) is not None:
            raise ConfigError(f"--{name} is that of the results; leave it out")


@dataclass(frozen=True, kw_only=True)
class OverridesConfig(_ReplacedConfig, _Folders):
    """Settings that replace those saved with the run."""


@dataclass(frozen=True, kw_only=True)
class AnyOverridesConfig(_ReplacedConfig, _ByName):
    """Settings that replace those saved with the run."""


@dataclass(frozen=True, kw_only=True)
class MovedOverridesConfig(_ReplacedConfig, _SourceConfig):
    """Settings that replace those saved with the run, of a command that names an expert with --expert."""

    moved: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag("folder of an expert that was moved; NAME is its name in the results", metavar="NAME=PATH"),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderConfig:
    """All settings of a rendering; flags are the fields' names, without the groups."""

    run: RunChoiceConfig = field(default_factory=RunChoiceConfig)
    metrics: MetricConfig = field(default_factory=MetricConfig)
    viewpoint: NovelViewConfig = field(default_factory=NovelViewConfig)
    overrides: OverridesConfig = field(default_factory=OverridesConfig)
    without: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], flag(f"with novel views: {WITHOUT}", metavar="NAME")
    ] = ()
    fast: Annotated[bool, flag(FAST)] = False
    quiet: Annotated[bool, flag("show warnings and results only")] = False
    debug: Annotated[bool, flag(DEBUG)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyRenderConfig(RenderConfig):
    """All settings of the rendering of a run of any experts."""

    overrides: AnyOverridesConfig = field(default_factory=AnyOverridesConfig)


def read_any_render_settings(arguments: Sequence[str], *, prog: str, description: str) -> AnyRenderConfig:
    """Settings of `moegs.py render`; ConfigError for flags that it does not have, and those of training alone."""
    _refuse_training_flags(arguments)
    page = CommandHelp(
        prog=prog,
        about=description,
        required=("save_path",),
        examples=(
            f"python {prog} --save_path output/mine",
            f"python {prog} --save_path output/mine --skip_train --save_img",
            f"python {prog} --save_path output/mine --source_path data/mine --expert STG=moved/stg/mine",
        ),
    )
    return parse(AnyRenderConfig, arguments, defaults=AnyRenderConfig(), page=page)


def read_render_settings(ensemble: Ensemble, arguments: Sequence[str]) -> RenderConfig:
    """Settings of a render command; ConfigError for flags that it does not have, and those of training alone."""
    _refuse_training_flags(arguments)
    return parse(RenderConfig, arguments, defaults=RenderConfig(), page=script_page(ensemble))


def script_page(ensemble: Ensemble) -> CommandHelp:
    """The help of a render script."""
    flags = folder_flags(ensemble)
    technicolor = ensemble.layout == "technicolor"
    start = f"python render_{ensemble.name}.py --save_path output/{'Birthday' if technicolor else 'cook_spinach'}"
    return CommandHelp(
        prog=f"render_{ensemble.name}.py",
        about=f"Render and score a run of train_{ensemble.name}.py ({', '.join(ensemble.experts)}).",
        required=("save_path",),
        hidden=tuple(spec.flag for spec in EXPERTS.values() if spec.flag not in flags.values()),
        examples=(
            f"{start} --iteration 5000",
            f"{start} --skip_train --save_img",
            f"{start} {'--focal_mm 35' if technicolor else '--y_offset 0.1'}",
        ),
    )


def _refuse_training_flags(arguments: Sequence[str]) -> None:
    decided = leaves(RunConfig).keys() - leaves(RenderConfig).keys()
    for argument in arguments:
        name = argument.split("=")[0]
        if name.startswith("--") and name[2:] in decided:
            raise ConfigError(f"{name} was decided in training and is saved with the run; leave it out")


def overrides_of(config: RenderConfig) -> dict[str, Any]:
    """Settings of the trained run to replace, by flag name."""
    given = {name: value for name, value in values_of(config.overrides).items() if value is not None}
    given |= {"without": config.without} if config.without else {}
    return given | ({"quiet": True} if config.quiet else {})


def variant_of(config: RenderConfig) -> str:
    """Name of the novel views and of rules given for them: "y_offset_0.1_fill_holes_on"; empty for filmed ones."""
    rules = {name: getattr(config.overrides, name) for name in OF_IMAGES}
    return views_name(
        config.viewpoint, {**rules, "without": "-".join(config.without) or None, "fast": "on" if config.fast else None}
    )


def splits_of(config: RenderConfig) -> tuple[Split, ...]:
    """The splits to score; none for a novel viewpoint, which no camera filmed."""
    if variant_of(config):
        return ()
    splits: tuple[tuple[Split, bool], ...] = (("train", config.run.skip_train), ("test", config.run.skip_test))
    return tuple(split for split, skipped in splits if not skipped)


def run_folder(config: RenderConfig) -> Path:
    """The folder of the trained run."""
    assert config.run.save_path is not None, "the command line has asked for it"
    return config.run.save_path


def check_replaced(overrides: _ReplacedConfig) -> None:
    """Raises ConfigError for a number in the place of a saved one that makes no picture."""
    temperature, share = overrides.eval_temperature, overrides.towards_mean
    if temperature is not None and not 1e-6 <= temperature <= 1e6:
        raise ConfigError(f"--eval_temperature is {temperature}: give more than 0, from 1e-6 to 1e6")
    check_novel_near(overrides.novel_near)
    if share is not None and not 0 <= share <= 1:
        raise ConfigError(f"--towards_mean is {share}: give a share between 0 and 1")


def check_moved(given: Any) -> None:
    """Raises ConfigError where a folder given for a moved scene or expert is none. given: settings with such flags."""
    check_folder("--source_path", given.source_path)
    check_target("--cache_path", getattr(given, "cache_path", None))
    for argument in getattr(given, "expert", ()):
        name, path = name_and_folder(argument)
        check_expert(folder_argument(name, path, by_name=True), path, name)
    for spec in EXPERTS.values():
        folder = getattr(given, spec.flag, None)
        if folder is not None:
            check_expert(folder_argument(spec.name, folder, by_name=False), folder, spec.name)
