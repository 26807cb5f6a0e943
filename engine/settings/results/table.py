"""Settings of `moegs.py table`: the runs to compare, and the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from engine.settings.parsing.command_help import DEBUG, CommandHelp, flag
from engine.settings.parsing.command_line import parse

TableFormat = Literal["markdown", "latex", "csv"]  # a row of engine.reporting.table_formats's FORMATS each


@dataclass(frozen=True, slots=True, kw_only=True)
class TableConfig:
    """Settings of a table of runs."""

    save_paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        flag(
            "folders of rendered runs, or of --seeds; several runs of one scene become one row", metavar="SAVE_PATH ..."
        ),
    ] = ()
    format: Annotated[TableFormat, flag("format of the table")] = "markdown"
    out: Annotated[Path | None, flag("file to write; default: standard output", metavar="FILE")] = None
    debug: Annotated[bool, flag(DEBUG)] = False


def table_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py table`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("save_paths",),
        examples=(
            f"python {prog} output/cook_spinach output/flame_steak",
            f"python {prog} output/cook_spinach_seeds",
            f"python {prog} output/seed0 output/seed1 output/seed2 --format latex --out scores.tex",
        ),
    )


def read_table_settings(arguments: Sequence[str], *, prog: str, description: str) -> TableConfig:
    """Settings of `moegs.py table`; ConfigError for flags that it does not have."""
    return parse(TableConfig, arguments, defaults=TableConfig(), page=table_page(prog, description))
