"""Settings of `moegs.py profile-step`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from moegs_rasterizer.types import Backend

from engine.errors import ConfigError
from engine.settings.parsing.command_help import BACKEND, DEBUG, DEVICE, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.training.run import DeviceChoice, check_seed
from router import ENSEMBLES

WARM_UP_ITERATIONS = 5  # before the timed ones: memory is allocated, libraries are loaded

if TYPE_CHECKING:
    EnsembleName = str  # a key of ENSEMBLES
else:
    EnsembleName = tyro.extras.literal_type_from_choices(list(ENSEMBLES))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileConfig:
    """Settings of a profile."""

    gaussians: Annotated[int, flag("Gaussians of each expert")] = 200_000
    width: Annotated[int, flag("width of the images, in px")] = 1352
    height: Annotated[int, flag("height of the images, in px")] = 1014
    ensemble: Annotated[EnsembleName, flag("ensemble of experts to blend")] = "E4"
    iterations: Annotated[int, flag(f"timed iterations; {WARM_UP_ITERATIONS} more come first and are not timed")] = 20
    device: Annotated[DeviceChoice, flag(DEVICE)] = "auto"
    backend: Annotated[Backend, flag(BACKEND)] = "auto"
    seed: Annotated[int, flag("random seed")] = 0
    debug: Annotated[bool, flag(DEBUG)] = False


def read_profile_settings(argv: Sequence[str], *, prog: str, description: str) -> ProfileConfig:
    """Settings of the command; ConfigError for flags that it does not have and numbers below 1."""
    page = CommandHelp(
        prog=prog,
        about=description,
        examples=(f"python {prog}", f"python {prog} --device cpu --gaussians 5000 --width 338 --height 254"),
    )
    config = parse(ProfileConfig, argv, defaults=ProfileConfig(), page=page)
    for name in ("gaussians", "width", "height", "iterations"):
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name} is {getattr(config, name)}: give 1 or more")
    check_seed(config.seed)
    return config
