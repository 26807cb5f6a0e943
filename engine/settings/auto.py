"""Settings of `moegs.py auto`: a scene, and the budget that its run has to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import DEBUG, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.paths import check_folder, check_target
from engine.settings.run_all import ARGUMENTS, RunAllConfig, SkippedStep, check_own, joined, words_of

PLANNED = {"preset", "iterations", "max_gaussians", "max_points", "test_iterations", "test_frames"}  # of trainings


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoConfig:
    """Settings of a run within a budget."""

    scene: Annotated[tyro.conf.Positional[Path | None], flag("folder of the scene", metavar="SCENE")] = None
    budget: Annotated[
        str,
        flag(
            "the most that the run may take, in any order, parts may be left out: time (min, h, s), GPU memory (GB), "
            "size of the finished run (MB)",
            metavar="20min,8GB,60MB",
        ),
    ] = ""
    output: Annotated[Path, flag("folder of the results: <output>/<scene>", metavar="PATH")] = Path("output/auto")
    data_args: Annotated[
        str, flag("further flags of all trainings, in one word: --data_args='--duration 300'", metavar="'FLAGS'")
    ] = ""
    prepare_args: Annotated[str, flag("further flags of moegs.py prepare", metavar="'FLAGS'")] = ""
    plan: Annotated[bool, flag("show the plan and run nothing")] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def auto_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py auto`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("scene", "budget"),
        examples=(
            f"python {prog} data/mine --budget 20min,8GB,60MB",
            f"python {prog} data/N3V/flame_steak --budget 30min --data_args='--duration 300' --plan",
        ),
    )


def read_auto_settings(arguments: Sequence[str], *, prog: str, description: str) -> AutoConfig:
    """Settings of the command; ConfigError for flags and paths that are wrong."""
    config = parse(AutoConfig, joined(arguments), defaults=AutoConfig(), page=auto_page(prog, description))
    check_folder("SCENE", config.scene)
    check_target("--output", config.output)
    for name in ARGUMENTS:
        if hasattr(config, name):
            words = words_of(getattr(config, name), name)
            check_own(words, name)
            _check_planned(words, name)
    return config


def _check_planned(words: Sequence[str], name: str) -> None:
    """Raises ConfigError for a flag that the plan gives. name: of ours that gave it."""
    for word in words:
        given = word.split("=")[0]
        if given.startswith("-") and given.lstrip("-").replace("-", "_") in PLANNED:
            raise ConfigError(f"--{name} holds {given}, which the plan gives: leave it out, or use run-all")


def run_all_settings(config: AutoConfig, *, mixes: bool, prepares: bool = False) -> RunAllConfig:
    """The settings by which `run-all` plans the same scene. mixes: False where the run is one expert without router."""
    skip: tuple[SkippedStep, ...] = (*(() if prepares else ("prepare",)), *(() if mixes else ("train", "render")))
    return RunAllConfig(
        dataset=config.scene,
        output=config.output,
        skip=skip,
        data_args=config.data_args,
        prepare_args=config.prepare_args,
        debug=config.debug,
    )
