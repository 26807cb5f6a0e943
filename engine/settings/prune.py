"""Settings of `moegs.py prune`: the run, how much to remove, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from engine.errors import ConfigError
from engine.settings.compress import check_least, check_positive, check_shares, check_source_and_target
from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.rendering.overrides import OF_IMAGES, AnyOverridesConfig

DEFAULT_RATIO = 0.55  # the paper's
MOST_RATIO = 0.99


MOST_ROUNDS = 100  # each ranks, copies and trains the whole run; published prunings have 1 to 10


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
        float | None,
        flag("instead of --ratio: size that the run may have before --compress, 10^6 bytes", metavar="FLOAT"),
    ] = None
    fps: Annotated[
        float | None,
        flag("instead of --ratio: frames a second that this machine is to render at least", metavar="FLOAT"),
    ] = None
    score: Annotated[
        Literal["image", "contribution", "gate"],
        flag(
            "what ranks the Gaussians; image: how much the blended image changes without each; contribution: how much "
            "of the blended image they are; gate: how much the gates depend on their routing weights, as in the paper"
        ),
    ] = "image"
    scope: Annotated[
        Literal["mixture", "expert"],
        flag("mixture: the ratio is of all Gaussians together; expert: of each expert's own"),
    ] = "mixture"
    score_frames: Annotated[
        int,
        flag("frames that the Gaussians are ranked at, evenly spread; each segment and window has two at least"),
    ] = 10
    rounds: Annotated[
        int, flag("rounds of ranking, removing and training; each removes the same share of what is left")
    ] = 4
    tune: Annotated[
        Literal["router", "all"],
        flag(
            "what is trained after each removal; router: the router alone; all: the Gaussians, too, which gains where "
            "cameras agree in colour, and loses where they differ"
        ),
    ] = "router"
    iterations: Annotated[int, flag("iterations of that training, of all rounds together; 0: none")] = 800
    rate: Annotated[
        float, flag("of --tune all: learning rates of Gaussians, over the last ones of their expert's recipe")
    ] = 1.0
    compress: Annotated[bool, flag("write the new run in small files, which cost next to nothing of its quality")] = (
        False
    )
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
    folders = check_source_and_target(config)
    given = _goals(config)
    if len(given) > 1:
        raise ConfigError(f"--{given[0]} and --{given[1]} exclude each other: give one")
    check_shares(config, ("ratio",), most=MOST_RATIO)
    check_positive(config, ("megabytes", "fps", "rate"))
    check_least(config, {"score_frames": 1, "rounds": 1, "iterations": 0})
    if config.tune != "all" and config.rate != PruneConfig().rate:
        raise ConfigError(f"--rate {config.rate:g} is of --tune all: give both, or leave it out")
    if config.rounds > MOST_ROUNDS:
        raise ConfigError(f"--rounds is {config.rounds}: give at most {MOST_ROUNDS}; each round ranks all Gaussians")
    return folders


def with_goal(config: PruneConfig) -> PruneConfig:
    """The settings with the default ratio, where no goal is given."""
    return config if _goals(config) else replace(config, ratio=DEFAULT_RATIO)


def _goals(config: PruneConfig) -> list[str]:
    return [name for name in ("ratio", "megabytes", "fps") if getattr(config, name) is not None]
