"""Settings of `moegs.py export` and `moegs.py import`: runs to and from other layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from engine.settings.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.command_line import parse
from router.heads import DEFAULT_HEAD, HeadKind

Layout = Literal["upstream"]  # a row of engine.commands.export's EXPORTS each


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Settings of an export."""

    run: Annotated[tyro.conf.Positional[Path | None], flag("folder of the trained run", metavar="SAVE_PATH")] = None
    layout: Annotated[Layout, flag("file layout to write; upstream: that of the paper's own code")] = "upstream"
    out: Annotated[Path | None, flag("new folder to write", metavar="PATH")] = None
    iteration: Annotated[int, flag("saved iteration to export; -1: the newest")] = -1
    source_path: Annotated[Path | None, flag("folder of the scene, if it was moved", "-s", metavar="PATH")] = None
    expert: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag("folder of an expert that was moved; NAME is its name in the results", metavar="NAME=PATH"),
    ] = ()
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Settings of an import."""

    folder: Annotated[
        tyro.conf.Positional[Path | None], flag("folder of a run that the paper's own code saved", metavar="FOLDER")
    ] = None
    save_path: Annotated[Path | None, flag("new folder of the imported run", metavar="PATH")] = None
    source_path: Annotated[
        Path | None,
        flag("folder of the scene; default: source_path in cfg_args", "-s", metavar="PATH"),
    ] = None
    iteration: Annotated[int, flag("iteration to import; -1: the newest")] = -1
    rgbfunction: Annotated[
        HeadKind | None,
        flag(f"network of the router; default: rgbfunction in cfg_args, else {DEFAULT_HEAD}", metavar="NAME"),
    ] = None
    temperature: Annotated[
        float | None,
        flag("softmax temperature of its training; default: temperature in cfg_args, else 0.01", metavar="FLOAT"),
    ] = None
    eval_temperature: Annotated[
        float | None,
        flag("softmax temperature while rendering; default: eval_temperature in cfg_args, else 1", metavar="FLOAT"),
    ] = None
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def export_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py export`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("run", "out"),
        examples=(f"python {prog} output/cook_spinach --out output/cook_spinach_upstream",),
    )


def import_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py import`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("folder", "save_path"),
        examples=(f"python {prog} output/paper/cook_spinach --save_path output/cook_spinach",),
    )


def read_export_settings(arguments: Sequence[str], *, prog: str, description: str) -> ExportConfig:
    """Settings of `moegs.py export`; ConfigError for flags that it does not have."""
    return parse(ExportConfig, arguments, defaults=ExportConfig(), page=export_page(prog, description))


def read_import_settings(arguments: Sequence[str], *, prog: str, description: str) -> ImportConfig:
    """Settings of `moegs.py import`; ConfigError for flags that it does not have."""
    return parse(ImportConfig, arguments, defaults=ImportConfig(), page=import_page(prog, description))
