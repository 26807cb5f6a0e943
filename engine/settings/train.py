"""Settings of a router's training, from its arguments and files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar

from engine.errors import ConfigError
from engine.settings.command_line import parse
from engine.settings.config_file import read_config_file
from engine.settings.experts import name_and_folder
from engine.settings.fields import with_values
from engine.settings.run import AnyRunConfig, RunConfig
from router import Ensemble

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"  # the settings that a run leaves in its folder

Config = TypeVar("Config", bound=RunConfig)


def read_train_settings(ensemble: Ensemble, arguments: Sequence[str]) -> RunConfig:
    """Settings of a training script; --resume without --config takes those of the run's own config.json."""
    names = ", ".join(ensemble.experts)
    script, about = f"train_{ensemble.name}.py", f"Train the router that blends {names}."
    return _settings(RunConfig(), arguments, prog=script, description=about)


def read_any_train_settings(arguments: Sequence[str], *, prog: str, description: str) -> AnyRunConfig:
    """`read_train_settings` for experts given by name; those of the command line replace those of a file."""
    config = _settings(AnyRunConfig(), arguments, prog=prog, description=description)
    if not config.experts.expert:
        raise ConfigError("--expert is missing: give --expert NAME=PATH for each of two experts or more")
    folders = [name_and_folder(argument) for argument in config.experts.expert]
    absolute = tuple(f"{name}={path.absolute()}" for name, path in folders)
    return with_values(config, {"expert": absolute})


def _settings(defaults: Config, arguments: Sequence[str], *, prog: str, description: str) -> Config:
    config_type = type(defaults)

    def parsed(start: Config) -> Config:
        return parse(config_type, arguments, defaults=start, prog=prog, description=description)

    config = parsed(defaults)
    saved = config.output.save_path / CONFIG_FILE if config.output.save_path else None
    if config.output.resume and config.config is None and saved is not None and saved.is_file():
        return parsed(with_values(defaults, read_config_file(saved, config_type)))
    if config.config is None:
        logger.info("no --config: default learning rates; configs/ holds those of the paper's scenes")
    return config
