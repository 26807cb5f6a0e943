"""Settings of `moegs.py distill`: the run, the expert that learns, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.settings.compress import check_least, check_positive, check_shares, check_source_and_target
from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.paths import check_expert
from engine.settings.rendering.overrides import OF_IMAGES, MovedOverridesConfig
from engine.settings.results.verify import overrides_of
from engine.settings.training.experts import folder_argument, name_and_folder
from engine.settings.training.run import check_seed
from experts import EXPERTS, Expert
from router import kind_of

MOVED = "--moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillConfig:
    """Settings of a distillation."""

    run: Annotated[tyro.conf.Positional[Path | None], flag("folder of the trained run", metavar="SAVE_PATH")] = None
    expert: Annotated[
        str, flag("the expert of the run that learns from the mixture, by its name in the results", metavar="NAME")
    ] = ""
    out: Annotated[Path | None, flag("new folder of the distilled expert", metavar="PATH")] = None
    iteration: Annotated[int, flag("saved iteration of the run; -1: the newest")] = -1
    iterations: Annotated[int, flag("training iterations, of each segment")] = 2000
    weight: Annotated[
        float,
        flag(
            "the paper's lambda, 0 to 1: weight of the recorded image where the expert's gate is high; the mixture's "
            "image, where the gate is low, has the rest"
        ),
    ] = 0.5
    novel_share: Annotated[
        float, flag("share of the images that are the mixture's from novel cameras, 0 to 1; the paper has none")
    ] = 0.3
    rate: Annotated[
        float, flag("learning rates, over the last ones of the expert's recipe; they fall to a tenth of it")
    ] = 5.0
    max_gaussians: Annotated[
        int | None,
        flag("number of Gaussians to which the expert grows while it learns; default: it keeps its own", metavar="INT"),
    ] = None
    test_frames: Annotated[int, flag("frames to score of each held-out camera, evenly spread")] = 10
    seed: Annotated[int, flag("random seed")] = 0
    overrides: MovedOverridesConfig = field(default_factory=MovedOverridesConfig)
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def distill_page(prog: str, about: str) -> CommandHelp:
    """The help of the command."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("run", "expert", "out"),
        hidden=OF_IMAGES,
        examples=(
            f"python {prog} output/cook_spinach --expert STG --out output/cook_spinach_stg",
            f"python {prog} output/cook_spinach --expert Ex4DGS \\\n    --out output/cook_spinach_ex4dgs --weight 0.8",
        ),
    )


def read_distill_settings(arguments: Sequence[str], *, prog: str, description: str) -> DistillConfig:
    """Settings of the command; ConfigError for flags that it does not have."""
    return parse(DistillConfig, arguments, defaults=DistillConfig(), page=distill_page(prog, description))


def check_distill_config(config: DistillConfig) -> tuple[Path, Path]:
    """The folders of the run and of the new expert; ConfigError for the first setting that cannot be used."""
    folders = check_source_and_target(config)
    for argument in config.overrides.moved:
        name, path = name_and_folder(argument, flag=MOVED)
        check_expert(folder_argument(name, path, by_name=True, flag=MOVED), path, name)
    check_shares(config, ("weight", "novel_share"))
    check_least(config, {"iterations": 1, "test_frames": 1})
    check_positive(config, ("rate",))
    check_seed(config.seed)
    return folders


def run_overrides(config: DistillConfig) -> dict[str, Any]:
    """Settings of the trained run that the command replaces, by flag name."""
    given = overrides_of(config)
    return given | ({"expert": given.pop("moved")} if "moved" in given else {})


def check_growth(config: DistillConfig, expert: Expert) -> None:
    """Raises ConfigError where an expert has more Gaussians than it is to grow to."""
    wanted, has = config.max_gaussians, expert.num_gaussians
    if wanted is not None and wanted < has:
        raise ConfigError(f"--max_gaussians is {wanted}, and {expert.name} has {has}: give more, or leave it out")


def find_name(asked: str, names: Sequence[str]) -> str:
    """The name among a run's experts that a user means, in any case or by its key; ConfigError naming the nearest."""
    known = {**{EXPERTS[kind_of(name)].key: name for name in reversed(names)}, **{name.lower(): name for name in names}}
    name = known.get(asked.lower())
    if name is None:
        raise ConfigError(f"--expert {asked}: the run has no such expert; {hint(asked, names)}")
    return name
