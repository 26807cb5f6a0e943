"""Settings of the render scripts; everything else comes from the run that was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import (
    DEBUG,
    FAST,
    CommandHelp,
    flag,
)
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.fields import leaves, values_of
from engine.settings.rendering.metric_protocols import MetricConfig
from engine.settings.rendering.novel_views import NovelViewConfig, views_name
from engine.settings.rendering.overrides import OF_IMAGES, WITHOUT, AnyOverridesConfig, OverridesConfig
from engine.settings.rendering.render_maps import MapName
from engine.settings.training.run import RunConfig
from experts import EXPERTS
from router import Ensemble, folder_flags

Split = Literal["train", "test"]
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
        if name == "--test_frames":
            raise ConfigError("--test_frames is a flag of trainings: rendering scores all frames; leave it out")
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
