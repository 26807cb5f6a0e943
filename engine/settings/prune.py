"""Settings of `moegs.py prune`: the run, how much to remove, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from engine.errors import ConfigError
from engine.settings.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.command_line import parse
from engine.settings.paths import check_folder, check_target
from engine.settings.render import OF_IMAGES, AnyOverridesConfig, check_moved

DEFAULT_RATIO = 0.55  # the paper's
MOST_RATIO = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneConfig:
    """Settings of a pruning."""

    run: Annotated[tyro.conf.Positional[Path | None], flag("folder of the trained run", metavar="SAVE_PATH")] = None
    out: Annotated[Path | None, flag("new folder of the pruned run", metavar="PATH")] = None
    iteration: Annotated[int, flag("saved iteration to prune; -1: the newest")] = -1
    ratio: Annotated[
        float | None,
        flag(f"share of the Gaussians to remove; default: {DEFAULT_RATIO:g}, as in the paper", metavar="FLOAT"),
    ] = None
    megabytes: Annotated[
        float | None, flag("instead of --ratio: size that the run may have, 10^6 bytes", metavar="FLOAT")
    ] = None
    fps: Annotated[
        float | None,
        flag("instead of --ratio: frames a second that this machine is to render at least", metavar="FLOAT"),
    ] = None
    score: Annotated[
        Literal["gate", "contribution"],
        flag(
            "what ranks the Gaussians; gate: how much the gates depend on their routing weights, as in the paper; "
            "contribution: how much of the blended image they are"
        ),
    ] = "gate"
    scope: Annotated[
        Literal["mixture", "expert"],
        flag("mixture: the ratio is of all Gaussians together; expert: of each expert's own"),
    ] = "mixture"
    score_frames: Annotated[int, flag("frames that the Gaussians are ranked at, evenly spread")] = 10
    iterations: Annotated[int, flag("iterations that train the router further afterwards; 0: none")] = 500
    overrides: AnyOverridesConfig = field(default_factory=AnyOverridesConfig)
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def prune_page(prog: str, about: str) -> CommandHelp:
    """The help of the command."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("run", "out"),
        hidden=OF_IMAGES,
        examples=(
            f"python {prog} output/cook_spinach --out output/cook_spinach_pruned",
            f"python {prog} output/cook_spinach --out output/cook_spinach_small --megabytes 100",
        ),
    )


def read_prune_settings(arguments: Sequence[str], *, prog: str, description: str) -> PruneConfig:
    """Settings of the command; ConfigError for flags that it does not have."""
    return parse(PruneConfig, arguments, defaults=PruneConfig(), page=prune_page(prog, description))


def check_prune_config(config: PruneConfig) -> tuple[Path, Path]:
    """The folders of the run and of the new one; ConfigError for the first setting that cannot be used."""
    assert config.run is not None and config.out is not None, "both are required"
    check_folder("SAVE_PATH", config.run)
    check_target("--out", config.out)
    check_moved(config.overrides)
    if config.out.exists() and any(config.out.iterdir()):
        raise ConfigError(f"--out {config.out}: is not empty; choose another folder")
    given = [name for name in ("ratio", "megabytes", "fps") if getattr(config, name) is not None]
    if len(given) > 1:
        raise ConfigError(f"--{given[0]} and --{given[1]} exclude each other: give one")
    if config.ratio is not None and not 0 <= config.ratio <= MOST_RATIO:
        raise ConfigError(f"--ratio is {config.ratio:g}: give 0 to {MOST_RATIO:g}")
    for name, least in (("megabytes", 0), ("fps", 0)):
        value = getattr(config, name)
        if value is not None and not value > least:
            raise ConfigError(f"--{name} is {value:g}: give more than {least}")
    if config.score_frames < 1 or config.iterations < 0:
        name = "score_frames" if config.score_frames < 1 else "iterations"
        raise ConfigError(f"--{name} is {getattr(config, name)}: give {1 if name == 'score_frames' else 0} or more")
    return config.run, config.out
