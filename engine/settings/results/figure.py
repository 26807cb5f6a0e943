"""Settings of `moegs.py figure`: the run and the moment to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.paths import check_folder, check_target
from engine.settings.rendering.overrides import AnyOverridesConfig, check_moved, check_replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureConfig:
    """Settings of a figure."""

    run: Annotated[tyro.conf.Positional[Path | None], flag("folder of the trained run", metavar="SAVE_PATH")] = None
    out: Annotated[Path | None, flag("PNG file to write; default: figure.png in SAVE_PATH", metavar="FILE")] = None
    iteration: Annotated[int, flag("saved iteration to draw; -1: the newest")] = -1
    camera: Annotated[str | None, flag("camera to draw; default: the first held-out one", metavar="CAM")] = None
    frame: Annotated[
        int | None, flag("frame to draw, 0: the clip's first; default: where the experts differ most", metavar="INT")
    ] = None
    overrides: AnyOverridesConfig = field(default_factory=AnyOverridesConfig)
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def figure_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py figure`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("run",),
        examples=(
            f"python {prog} output/cook_spinach",
            f"python {prog} output/cook_spinach --camera cam00 --frame 120",
        ),
    )


def read_figure_settings(arguments: Sequence[str], *, prog: str, description: str) -> FigureConfig:
    """Settings of the command; ConfigError for flags that it does not have."""
    return parse(FigureConfig, arguments, defaults=FigureConfig(), page=figure_page(prog, description))


def check_figure_config(config: FigureConfig) -> Path:
    """The run's folder; ConfigError for the first setting that cannot be used."""
    assert config.run is not None, "required"
    check_folder("SAVE_PATH", config.run)
    if config.out is None:
        check_target("SAVE_PATH", config.run)
    check_target("--out", config.out, file=True)
    check_moved(config.overrides)
    check_replaced(config.overrides)
    return config.run
