"""Settings about experts that follow from the table EXPERTS: their folders by flag or by name, and help texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from common.text.suggestions import hint
from common.text.wording import shell
from engine.errors import ConfigError
from engine.settings.parsing.command_help import NOVEL_NEAR, flag
from experts import EXPERTS, TRAINABLE, ExpertSpec
from router import Ensemble, ensemble_of, kind_of

BY_NAME = "--expert"  # the flag that takes an expert's folder by name
PLANES = ("near", "far")
FILE_PLANES = "file_planes"  # the setting that no flag gives
WITH_PLANES = " and ".join(spec.name for spec in EXPERTS.values() if spec.has_planes)
WITH_CLOCK = " or ".join(spec.name for spec in EXPERTS.values() if spec.has_clock)
WITH_SEGMENTS = " and ".join(spec.name for spec in EXPERTS.values() if spec.segments is not None)
*_FIRST_KEYS, _LAST_KEY = (spec.key for spec in TRAINABLE.values())
KEYS = f"{', '.join(_FIRST_KEYS)} or {_LAST_KEY}"


def expert_folder_settings(help: Callable[[ExpertSpec], str], *, after: tuple[type, ...] = ()) -> Any:
    """A group of settings, a frozen dataclass to inherit from: an optional folder for each expert, by its flag.

    help: the flag's. after: groups whose settings come first.
    """
    folders = [(spec.flag, Annotated[Path | None, _folder_flag(spec, help(spec))], None) for spec in EXPERTS.values()]
    return make_dataclass("ExpertFolders", folders, bases=after, frozen=True, kw_only=True)


def _folder_flag(spec: ExpertSpec, help: str) -> Any:
    aliases = () if spec.alias is None else (spec.alias,)
    return flag(help, *aliases, metavar="PATH")


def _folder_help(spec: ExpertSpec) -> str:
    return f"folder of the trained {spec.name} model"


_Folders: Any = expert_folder_settings(_folder_help)


@dataclass(frozen=True, kw_only=True)
class ExpertReadingConfig:
    """The reading of trained experts."""

    load_iteration: Annotated[int, flag("checkpoint iteration to load of every expert; -1: the newest of each")] = -1
    near: Annotated[
        float | None,
        flag(
            f"near plane of {WITH_PLANES}, in scene units; default: near in their cfg_args, else 0.2", metavar="FLOAT"
        ),
    ] = None
    far: Annotated[
        float | None,
        flag(f"far plane of {WITH_PLANES}, in scene units; default: far in their cfg_args, else 300", metavar="FLOAT"),
    ] = None
    file_planes: Annotated[
        tuple[str, ...],
        flag("which of near and far a --config file gave; the values in an expert's cfg_args beat those"),
        tyro.conf.Suppress,
    ] = ()
    novel_near: Annotated[
        float | None, flag(NOVEL_NEAR + "a quarter of the median depth of the experts' images", metavar="FLOAT")
    ] = None
    expert_frames: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag(
            f"frames of the clip that an expert was trained on; NAME is {WITH_CLOCK}; default: as its cfg_args say, "
            "else found by rendering",
            metavar="NAME=N",
        ),
    ] = ()
    trust_checkpoint: Annotated[
        bool, flag("allow code in an expert's .pth file to run; use it for your own files only")
    ] = False


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig(ExpertReadingConfig, _Folders):
    """The trained experts."""


@dataclass(frozen=True, kw_only=True)
class ExpertsByName:
    """Experts in softmax order, given by name."""

    expert: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag(
            f"a trained expert; NAME is {', '.join(EXPERTS)}; give two or more, in the order of the gates",
            metavar="NAME=PATH",
        ),
    ] = ()


_ByName: Any = ExpertsByName  # so that mypy lets the group stand in the place of ExpertsConfig


@dataclass(frozen=True, kw_only=True)
class AnyExpertsConfig(ExpertReadingConfig, _ByName):
    """The trained experts."""


def folder_argument(expert: str, folder: Path | None = None, *, by_name: bool, flag: str = BY_NAME) -> str:
    """The argument that gives an expert's folder: "--stg_path FOLDER"; by name "--expert STG=FOLDER".

    expert: its name in the run, "STG-2" for a second one. Without a folder: the text that tells a user what to give.
    flag: the one of folders by name.
    """
    if by_name:
        return shell(flag, f"{expert}={folder or 'PATH'}")
    return shell(f"--{EXPERTS[expert].flag}", *([] if folder is None else [folder]))


def ensemble_and_folders(given: Sequence[str]) -> tuple[Ensemble, dict[str, Path]]:
    """The ensemble of --expert NAME=PATH arguments, and each expert's folder; ConfigError where one cannot be read."""
    kinds, paths = [], []
    for argument in given:
        name, path = name_and_folder(argument)
        kinds.append(_kind_named(name))
        paths.append(path)
    ensemble = ensemble_of(kinds)
    return ensemble, dict(zip(ensemble.experts, paths, strict=True))


def with_saved_experts(given: Sequence[str], saved: Sequence[str]) -> tuple[str, ...]:
    """--expert arguments of a saved run, with those that are given anew in the places of their experts.

    The given ones alone where they are as many, or one names no expert of the run.
    """
    experts = ensemble_and_folders(saved)[0].experts
    folders = {named_expert(name, experts): path for name, path in map(name_and_folder, given)}
    if len(given) >= len(saved) or len(folders) < len(given) or None in folders:
        return tuple(given)
    pairs = zip(experts, saved, strict=True)
    return tuple(f"{kind_of(name)}={folders[name]}" if name in folders else argument for name, argument in pairs)


def name_and_folder(argument: str, *, flag: str = BY_NAME) -> tuple[str, Path]:
    """The two parts of an --expert argument, NAME=PATH; ConfigError where it is none."""
    name, equals, path = argument.partition("=")
    if not equals or not path:
        raise ConfigError(f"{flag} {argument}: NAME=PATH expected, for example {flag} STG=output/stg")
    return name, Path(path)


def check_novel_near(near: float | None) -> None:
    """Raises ConfigError where --novel_near is no distance."""
    if near is not None and not (near >= 0 and math.isfinite(near)):
        raise ConfigError(f"--novel_near is {near}: give a distance in scene units, or 0 to show all Gaussians")


def check_expert_frames(given: Sequence[str], experts: Sequence[str]) -> None:
    """Raises ConfigError where an --expert_frames argument is not NAME=N of one of the experts that have a clock."""
    for argument in given:
        name, _, number = argument.partition("=")
        clocked = [each for each in experts if EXPERTS[kind_of(each)].has_clock]
        if named_expert(name, clocked) is None or not number.isdecimal() or int(number) < 1:
            names = f"where NAME is {' or '.join(clocked)}" if clocked else "and no expert here takes it"
            raise ConfigError(f"--expert_frames {argument}: NAME=N expected, {names} and N a number of frames")


def expert_frames_of(given: Sequence[str], expert: str) -> int | None:
    """N of the last --expert_frames NAME=N argument of an expert; None where there is none."""
    arguments = (argument.partition("=") for argument in given)
    numbers = [int(number) for name, _, number in arguments if named_expert(name, [expert])]
    return numbers[-1] if numbers else None


def folders_by_name(given: Sequence[str], experts: Sequence[str], *, flag: str = BY_NAME) -> dict[str, Path]:
    """Folders of NAME=PATH arguments of a flag, by the names of a run's experts.

    Raises ConfigError where NAME is no expert of the run, and where two arguments name the same one.
    """
    folders: dict[str, Path] = {}
    for argument in given:
        name, path = name_and_folder(argument, flag=flag)
        expert = named_expert(name, experts)
        if expert is None:
            label = shell(flag, f"{name}={path}")
            raise ConfigError(f"{label}: NAME=PATH expected, where NAME is {' or '.join(experts)}")
        if expert in folders:
            raise ConfigError(f"{flag} is given twice for {expert}; give it once")
        folders[expert] = path
    return folders


def named_expert(name: str, experts: Iterable[str]) -> str | None:
    """The expert that is meant by its name or by train-expert's key, in any case: "STG-2" by "stg-2"; None: none."""
    known = {alias.lower(): expert for expert in experts for alias in (_with_key(expert), expert)}
    return known.get(name.lower())


def named_others(experts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Experts but for those that are named; a name that none has changes nothing."""
    out = [named_expert(name, experts) for name in names]
    return [expert for expert in experts if expert not in out]


def _with_key(expert: str) -> str:
    kind = kind_of(expert)
    return expert.replace(kind, EXPERTS[kind].key, 1) if kind in EXPERTS else expert


def _kind_named(name: str) -> str:
    """Name in EXPERTS of an expert that is given by its name or train-expert's key, in any case."""
    kind = named_expert(name, EXPERTS)
    if kind is None:
        raise ConfigError(f"--expert {name}: no expert has this name; {hint(name, EXPERTS, likeness=0.4)}")
    return kind
