"""Settings of `moegs.py check`: a scene, and experts to check on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from engine.errors import ConfigError
from engine.settings.parsing.command_help import CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.fields import with_values
from engine.settings.parsing.paths import check_expert, check_folder, check_target
from engine.settings.training.experts import FILE_PLANES, AnyExpertsConfig, ExpertReadingConfig
from engine.settings.training.run import AnyRunConfig, DataConfig, DeviceConfig, MachineConfig
from experts import EXPERTS
from experts.recognition import expert_of_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """A scene and trained experts to check."""

    scene: Annotated[tyro.conf.Positional[Path | None], flag("folder of the scene", metavar="SCENE")] = None
    models: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        flag(
            "folders of trained experts; NAME, recognised from the files if you leave it out, is " + ", ".join(EXPERTS),
            metavar="[NAME=]FOLDER ...",
        ),
    ] = ()
    data: DataConfig = field(default_factory=DataConfig)
    experts: ExpertReadingConfig = field(default_factory=ExpertReadingConfig)
    machine: DeviceConfig = field(default_factory=DeviceConfig)


def check_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py check`."""
    return CommandHelp(
        prog=prog,
        about=about,
        required=("scene",),
        hidden=("source_path", FILE_PLANES, "deterministic"),
        texts={"cache_path": "folder of decoded frames; default: frame_cache in the scene's folder"},
        examples=(
            f"python {prog} data/mine",
            f"python {prog} data/mine output/experts/stg/mine output/experts/ex4dgs/mine",
        ),
    )


def read_check_settings(arguments: Sequence[str], *, prog: str, description: str) -> AnyRunConfig:
    """The settings of a check as those of a run that nothing is trained in."""
    given = parse(CheckConfig, arguments, defaults=CheckConfig(), page=check_page(prog, description))
    check_folder("SCENE", given.scene)
    check_target("--cache_path", given.data.cache_path)
    reading = {name: getattr(given.experts, name) for name in ExpertReadingConfig.__dataclass_fields__}
    named = tuple(_named(model, given.experts.load_iteration) for model in given.models)
    machine = given.machine
    config = AnyRunConfig(
        data=given.data,
        experts=AnyExpertsConfig(**reading, expert=named),
        machine=MachineConfig(device=machine.device, backend=machine.backend, quiet=machine.quiet, debug=machine.debug),
    )
    return with_values(config, {"source_path": given.scene})


def _named(model: str, load_iteration: int) -> str:
    """NAME=FOLDER of a model that is given as that, or as FOLDER alone."""
    name, equals, folder = model.partition("=")
    if equals and "/" not in name and not Path(model).exists():
        check_expert(model, Path(folder), name)
        return model
    check_folder("FOLDER", Path(model))
    spec = expert_of_folder(Path(model), None if load_iteration == -1 else load_iteration, experts=EXPERTS.values())
    if spec is None:
        raise ConfigError(f"{model}: no expert's files are recognised there; give NAME={model}")
    return f"{spec.name}={model}"
