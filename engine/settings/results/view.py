"""Settings of `moegs.py view`: the run or the expert to show, and the address to show it at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import DEBUG, FAST, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.paths import check_folder
from engine.settings.rendering.overrides import WITHOUT, AnyOverridesConfig, check_moved, check_replaced

PACKAGE = "viser"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewConfig:
    """Settings of the viewer."""

    run: Annotated[
        tyro.conf.Positional[Path | None],
        flag("folder of the trained run; without it, one --expert NAME=PATH", metavar="SAVE_PATH"),
    ] = None
    iteration: Annotated[int, flag("saved iteration to show; -1: the newest, also when a newer one is saved")] = -1
    host: Annotated[
        str, flag("address to listen at; 0.0.0.0: everyone who can reach this machine sees the run", metavar="ADDRESS")
    ] = "127.0.0.1"
    port: Annotated[int, flag("port to listen at; if it is taken, the next free one")] = 8080
    budget_ms: Annotated[
        float, flag("time of a picture while the camera moves, in ms; the resolution follows it", metavar="FLOAT")
    ] = 50.0
    width: Annotated[int, flag("longest side of a picture from a free camera, in px")] = 1280
    overrides: AnyOverridesConfig = field(default_factory=AnyOverridesConfig)
    without: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], flag(WITHOUT, metavar="NAME")] = ()
    fast: Annotated[bool, flag(FAST)] = False
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def view_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py view`."""
    return CommandHelp(
        prog=prog,
        about=about,
        examples=(
            f"python {prog} output/cook_spinach",
            f"python {prog} --expert STG=output/experts/stg/mine --port 8090",
        ),
        texts={
            "expert": "folder of an expert that was moved; without SAVE_PATH: the one expert to show",
            "source_path": "folder of the scene, if it was moved, or the folder of --expert does not tell it",
        },
    )


def read_view_settings(arguments: Sequence[str], *, prog: str, description: str) -> ViewConfig:
    """Settings of the command; ConfigError for flags that it does not have."""
    return parse(ViewConfig, arguments, defaults=ViewConfig(), page=view_page(prog, description))


def check_view_config(config: ViewConfig) -> None:
    """Raises ConfigError for the first setting that cannot be used, and where viser is missing."""
    if config.run is None and len(config.overrides.expert) != 1:
        raise ConfigError("nothing to show: give SAVE_PATH of a trained run, or one expert with --expert NAME=PATH")
    if config.run is None and config.without:
        raise ConfigError(f"--without {config.without[0]}: there is one expert alone; leave it out")
    check_folder("SAVE_PATH", config.run)
    check_moved(config.overrides)
    for name, least, most in (("port", 1, 65535), ("width", 16, 8192), ("budget_ms", 1, 10_000)):
        value = getattr(config, name)
        if not least <= value <= most:
            raise ConfigError(f"--{name} is {value}: give {least} to {most}")
    check_replaced(config.overrides)
    check_viser()


def check_viser() -> None:
    """Raises ConfigError with the command that installs viser, where it is missing."""
    if find_spec(PACKAGE) is None:
        raise ConfigError(
            f"view needs the package {PACKAGE}: run pip install -r requirements-view.txt -c constraints.txt"
        )
