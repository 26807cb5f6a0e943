"""Settings of `moegs.py report`: the run or the expert to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.paths import check_folder, check_target
from engine.settings.rendering.overrides import OF_RESULTS, AnyOverridesConfig, check_moved, check_not_of_results


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Settings of a report."""

    save_path: Annotated[
        tyro.conf.Positional[Path | None],
        flag("folder of a rendered run, or the model folder of an expert", metavar="SAVE_PATH"),
    ] = None
    out: Annotated[Path | None, flag("file to write; default: report.html in SAVE_PATH", metavar="FILE")] = None
    iteration: Annotated[int, flag("rendered iteration to show; -1: the newest")] = -1
    frames: Annotated[
        int,
        flag("frames on which the worth of each expert is measured; 0: render nothing, take images from saved PNGs"),
    ] = 8
    require_win: Annotated[
        bool, flag("end with exit code 1 unless the mixture's PSNR is above every expert's and the uniform mean's")
    ] = False
    overrides: AnyOverridesConfig = field(default_factory=AnyOverridesConfig)
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def report_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py report`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("save_path",),
        hidden=OF_RESULTS,
        examples=(
            f"python {prog} output/cook_spinach",
            f"python {prog} output/cook_spinach --require_win",
            f"python {prog} output/experts/stg/cook_spinach",
        ),
    )


def check_report_config(config: ReportConfig) -> Path:
    """The folder to show; ConfigError for the first setting that cannot be used."""
    assert config.save_path is not None, "required"
    check_folder("SAVE_PATH", config.save_path)
    if config.out is None:
        check_target("SAVE_PATH", config.save_path)
    check_target("--out", config.out, file=True)
    check_moved(config.overrides)
    check_not_of_results(config.overrides)
    if config.frames < 0:
        raise ConfigError(f"--frames is {config.frames}: give 0 or more")
    return config.save_path


def read_report_settings(arguments: Sequence[str], *, prog: str, description: str) -> ReportConfig:
    """Settings of `moegs.py report`; ConfigError for flags that it does not have."""
    return parse(ReportConfig, arguments, defaults=ReportConfig(), page=report_page(prog, description))
