"""Checks that `prune` and `distill` share: folders, and numbers of flags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.settings.parsing.paths import check_empty, check_folder, check_target
from engine.settings.rendering.overrides import check_moved, check_replaced


def check_source_and_target(config: Any) -> tuple[Path, Path]:
    """The folders of the run and of what is made of it; ConfigError where they cannot be used.

    config: with the fields run, out and overrides.
    """
    assert config.run is not None and config.out is not None, "both are required"
    check_folder("SAVE_PATH", config.run)
    check_target("--out", config.out)
    check_moved(config.overrides)
    check_replaced(config.overrides)
    check_empty("--out", config.out)
    return config.run, config.out


def check_shares(config: Any, names: Sequence[str], *, most: float = 1.0) -> None:
    """Raises ConfigError for the first setting that is given and not in 0 ... most."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value <= most:
            raise ConfigError(f"--{name} is {value:g}: give 0 to {most:g}")


def check_least(config: Any, least: Mapping[str, int]) -> None:
    """Raises ConfigError for the first setting, by name, that is less than it may be."""
    for name, number in least.items():
        if getattr(config, name) < number:
            raise ConfigError(f"--{name} is {getattr(config, name)}: give {number} or more")


def check_positive(config: Any, names: Sequence[str]) -> None:
    """Raises ConfigError for the first setting that is given and not a finite number above 0."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"--{name} is {value:g}: give more than 0")
