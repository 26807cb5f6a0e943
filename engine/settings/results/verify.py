"""Settings of `moegs.py verify`: the results to check, and how much of them to render again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.fields import values_of
from engine.settings.parsing.paths import check_file, check_folder
from engine.settings.rendering.overrides import OF_RESULTS, AnyOverridesConfig, check_moved, check_not_of_results
from engine.settings.rendering.render import Split

CPU_FRAMES = 8  # rendered again on a CPU, where --frames does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """Settings of a check of results."""

    save_path: Annotated[tyro.conf.Positional[Path | None], flag("folder of the run", metavar="SAVE_PATH")] = None
    iteration: Annotated[int, flag("iteration whose results to check; -1: the newest that was rendered")] = -1
    split: Annotated[Split, flag("results to check: of the held-out cameras (test) or the training cameras")] = "test"
    frames: Annotated[
        int | None,
        flag(
            f"frames to render again, evenly spread; default: all on a GPU, {CPU_FRAMES} on a CPU; 0: none",
            metavar="INT",
        ),
    ] = None
    lpips_weights: Annotated[
        Path | None, flag("LPIPS weights, as for render; default: the installed package", metavar="PATH")
    ] = None
    overrides: AnyOverridesConfig = field(default_factory=AnyOverridesConfig)
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def verify_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py verify`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("save_path",),
        hidden=OF_RESULTS,
        texts={
            "device": "where to compute; default: the GPU if there is one, else the CPU",
            "tile_rule": "extent of a splat; give the same as for render; default: as in training",
            "network_precision": "arithmetic of the experts' networks; give the same as for render; default: as in "
            "training",
        },
        examples=(
            f"python {prog} output/cook_spinach",
            f"python {prog} output/cook_spinach --iteration 5000 --frames 20",
        ),
    )


def check_verify_config(config: VerifyConfig) -> Path:
    """The folder of the run; ConfigError for the first setting that cannot be used."""
    assert config.save_path is not None, "required"
    check_folder("SAVE_PATH", config.save_path)
    check_file("--lpips_weights", config.lpips_weights, or_folder=True)
    check_moved(config.overrides)
    check_not_of_results(config.overrides)
    if config.frames is not None and config.frames < 0:
        raise ConfigError(f"--frames is {config.frames}: give 0 or more")
    return config.save_path


def overrides_of(config: Any) -> dict[str, Any]:
    """Settings of the trained run that a command replaces, by flag name. config: one with the field `overrides`."""
    given = {name: value for name, value in values_of(config.overrides).items() if value not in (None, ())}
    return given | ({"quiet": True} if config.quiet else {})


def read_verify_settings(arguments: Sequence[str], *, prog: str, description: str) -> VerifyConfig:
    """Settings of `moegs.py verify`; ConfigError for flags that it does not have."""
    return parse(VerifyConfig, arguments, defaults=VerifyConfig(), page=verify_page(prog, description))
