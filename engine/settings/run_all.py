"""Settings of `moegs.py run-all`: the data set, and what its steps are told."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import DEBUG, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.paths import check_folder, check_target
from experts import EXPERTS
from router import ENSEMBLES

if TYPE_CHECKING:
    EnsembleName = str  # a key of ENSEMBLES
else:
    EnsembleName = tyro.extras.literal_type_from_choices(list(ENSEMBLES))
SkippedStep = Literal["prepare", "experts", "train", "render", "table"]
# Of the steps, decided by run-all: where everything is, and that steps continue.
OWN = {"source_path", "s", "save_path", "model_path", "m", "resume", "overwrite"}
OWN |= {spec.flag for spec in EXPERTS.values()}
ARGUMENTS = ("data_args", "prepare_args", "expert_args", "train_args", "render_args")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAllConfig:
    """Settings of the runs of a data set."""

    dataset: Annotated[
        tyro.conf.Positional[Path | None],
        flag("folder that holds the scenes' folders, or the folder of one scene", metavar="DATASET"),
    ] = None
    output: Annotated[Path, flag("folder of the results: <output>/<scene> for each", metavar="PATH")] = Path(
        "output/all"
    )
    scenes: Annotated[
        tuple[str, ...] | None, flag("names of scenes; default: all of the folder", metavar="NAME ...")
    ] = None
    ensemble: Annotated[
        EnsembleName | None,
        flag("experts to blend; default: E3_tech for Technicolor scenes, else E4", metavar="|".join(ENSEMBLES)),
    ] = None
    skip: Annotated[
        tuple[SkippedStep, ...], flag("steps to leave out: prepare, experts, train, render, table", metavar="STEP ...")
    ] = ()
    data_args: Annotated[
        str, flag("further flags of all trainings, in one word: --data_args='--duration 300'", metavar="'FLAGS'")
    ] = ""
    preset: Annotated[str | None, flag("preset of all experts, such as fast; default: auto", metavar="NAME")] = None
    prepare_args: Annotated[str, flag("further flags of moegs.py prepare", metavar="'FLAGS'")] = ""
    expert_args: Annotated[str, flag("further flags of moegs.py train-expert, for all experts", metavar="'FLAGS'")] = ""
    train_args: Annotated[str, flag("further flags of the router's training", metavar="'FLAGS'")] = ""
    render_args: Annotated[str, flag("further flags of the rendering", metavar="'FLAGS'")] = ""
    gpus: Annotated[
        tuple[str, ...] | None,
        flag("GPUs to use, as CUDA_VISIBLE_DEVICES names them; default: all that are visible", metavar="GPU ..."),
    ] = None
    jobs_per_gpu: Annotated[
        int, flag("jobs that run on each GPU at a time; with several, start NVIDIA's MPS before")
    ] = 1
    dry_run: Annotated[bool, flag("print the commands and run none")] = False
    slurm: Annotated[
        Path | None,
        flag("run none, and write the jobs as arrays of the scheduler SLURM to this folder", metavar="FOLDER"),
    ] = None
    job: Annotated[str | None, flag("run this job alone, as scripts of --slurm do, or table", metavar="SCENE/STEP")] = (
        None
    )
    debug: Annotated[bool, flag(DEBUG)] = False


def run_all_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py run-all`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("dataset",),
        examples=(
            f"python {prog} data/N3V --data_args='--duration 300'",
            f"python {prog} data/N3V --preset fast --jobs_per_gpu 4",
            f"python {prog} data/N3V --scenes flame_steak --ensemble E3 --train_args='--seeds 3'",
            f"python {prog} data/techni --dry_run",
            f"python {prog} data/N3V --slurm output/slurm",
        ),
    )


def read_run_all_settings(arguments: Sequence[str], *, prog: str, description: str) -> RunAllConfig:
    """Settings of the command; ConfigError for flags and paths that are wrong."""
    config = parse(RunAllConfig, joined(arguments), defaults=RunAllConfig(), page=run_all_page(prog, description))
    check_folder("DATASET", config.dataset)
    check_target("--output", config.output)
    for name in ARGUMENTS:
        check_own(words_of(getattr(config, name), name), name)
    for name in ("scenes", "gpus"):
        if getattr(config, name) == ():
            raise ConfigError(f"--{name} has no value: give one or more, or leave it out")
    check_target("--slurm", config.slurm)
    if config.slurm is not None and (config.job is not None or config.gpus is not None):
        other = "--gpus" if config.job is None else "--job"
        raise ConfigError(f"--slurm and {other} exclude each other: SLURM chooses a job's GPU, and its scripts the job")
    gpus = config.gpus or ()
    if repeated := sorted({gpu for gpu in gpus if gpus.count(gpu) > 1}):
        raise ConfigError(f"--gpus names {repeated[0]} twice; for several jobs on each GPU give --jobs_per_gpu")
    if config.jobs_per_gpu < 1:
        raise ConfigError(f"--jobs_per_gpu is {config.jobs_per_gpu}: give 1 or more")
    if config.slurm is not None and config.jobs_per_gpu != 1:
        raise ConfigError("--slurm and --jobs_per_gpu exclude each other: a task of SLURM runs one job")
    return config


def check_own(words: Sequence[str], name: str) -> None:
    """Raises ConfigError for a flag among a step's that is not for the user to give. name: of ours that gave them."""
    for word in words:
        flag_name = word.split("=")[0].lstrip("-").replace("-", "_") if word.startswith("-") else ""
        if flag_name in ("help", "h"):
            raise ConfigError(f"--{name} holds {word}: ask the step's own command for its help")
        if flag_name.removeprefix("no_") in OWN:
            raise ConfigError(f"--{name} holds {word.split('=')[0]}, which this command decides itself: leave it out")


def joined(arguments: Sequence[str]) -> list[str]:
    """The arguments with flags for other commands in one word with their name, so that they are not taken for ours."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1].startswith("--") and words[-1].lstrip("-").replace("-", "_") in ARGUMENTS:
            words[-1] = f"{words[-1]}={word}"
        else:
            words.append(word)
    return words


def without_slurm(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command without --slurm and its folder."""
    words: list[str] = []
    skips = False
    for word in joined(arguments):
        name = word.split("=")[0].lstrip("-") if word.startswith("--") else ""
        if not skips and name != "slurm":
            words.append(word)
        skips = name == "slurm" and "=" not in word
    return words


def words_given(config: RunAllConfig, name: str) -> tuple[str, ...]:
    """The words that a flag of ours adds to a step's command. name: one of ARGUMENTS, or "preset"."""
    value = getattr(config, name)
    if name == "preset":
        return () if value is None else ("--preset", value)
    return words_of(value)


def words_of(flags: str, name: str = "") -> tuple[str, ...]:
    """Flags in one word as the words that they are; ConfigError for quotes that do not close."""
    try:
        return tuple(shlex.split(flags))
    except ValueError as error:
        raise ConfigError(f"--{name} is {flags!r}: {error}") from None
