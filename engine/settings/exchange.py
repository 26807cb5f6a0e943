"""Settings of `moegs.py import`: runs from other layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from router.heads import DEFAULT_HEAD, HeadKind


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


def import_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py import`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("folder", "save_path"),
        examples=(f"python {prog} output/paper/cook_spinach --save_path output/cook_spinach",),
    )


def read_import_settings(arguments: Sequence[str], *, prog: str, description: str) -> ImportConfig:
    """Settings of `moegs.py import`; ConfigError for flags that it does not have."""
    return parse(ImportConfig, arguments, defaults=ImportConfig(), page=import_page(prog, description))
