"""Settings that replace those saved with a trained run, and where its scene and experts were moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from moegs_rasterizer.types import TileRule

from engine.errors import ConfigError
from engine.settings.parsing.command_help import CACHE_GB, COVERAGE_GUARD, DETERMINISTIC, FILL_HOLES, NOVEL_NEAR, flag
from engine.settings.parsing.paths import check_expert, check_folder, check_target
from engine.settings.training.experts import check_novel_near, expert_folder_settings, folder_argument, name_and_folder
from engine.settings.training.run import BackendChoice, DeviceChoice, OnOff
from experts import EXPERTS
from experts.base import Precision

WITHOUT = "name of an expert to leave out; the gates are those of the others"


@dataclass(frozen=True, kw_only=True)
class _SourceConfig:
    source_path: Annotated[Path | None, flag("folder of the scene, if it was moved", "-s", metavar="PATH")] = None
    cache_path: Annotated[
        Path | None,
        flag("folder of decoded frames, if not <source_path>/frame_cache or below <save_path>", metavar="PATH"),
    ] = None
    cache_gb: Annotated[float | None, flag(CACHE_GB + "; default: as in training", metavar="FLOAT")] = None


_Folders: Any = expert_folder_settings(
    lambda spec: f"folder of the {spec.name} model, if it was moved", after=(_SourceConfig,)
)


@dataclass(frozen=True, kw_only=True)
class FoldersByName(_SourceConfig):
    """Folders of experts that were moved, given by name."""

    expert: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag("folder of an expert that was moved; NAME is its name in the results", metavar="NAME=PATH"),
    ] = ()


_ByName: Any = FoldersByName  # so that mypy lets the group stand in the place of OverridesConfig


@dataclass(frozen=True, kw_only=True)
class _ReplacedConfig:
    eval_temperature: Annotated[
        float | None, flag("softmax temperature; default: the one saved with the run", metavar="FLOAT")
    ] = None
    novel_near: Annotated[float | None, flag(NOVEL_NEAR + "as in training", metavar="FLOAT")] = None
    coverage_guard: Annotated[OnOff | None, flag(COVERAGE_GUARD + "; default: as in training", metavar="{on,off}")] = (
        None
    )
    towards_mean: Annotated[
        float | None,
        flag(
            "share of the uniform mean in the gates of views that were not trained on, 0 to 1; default: the judge's, "
            "where the training had --router_cameras, else 0",
            metavar="FLOAT",
        ),
    ] = None
    fill_holes: Annotated[OnOff | None, flag(FILL_HOLES + "; default: as in training", metavar="{on,off}")] = None
    device: Annotated[
        DeviceChoice | None,
        flag("where to compute; default: the GPU if there is one, else the CPU", metavar="{auto,cpu,cuda}"),
    ] = None
    backend: Annotated[
        BackendChoice | None,
        flag("rasterizer; default: the fastest of the device", metavar="{auto,cuda,cpu,torch}"),
    ] = None
    deterministic: Annotated[bool, flag(DETERMINISTIC + "; default: as in training")] = False
    tile_rule: Annotated[
        TileRule | None, flag("extent of a splat; default: as in training", metavar="{exact,inria}")
    ] = None
    network_precision: Annotated[
        Precision | None,
        flag("arithmetic of the experts' networks; default: as in training", metavar="{float32,tf32,float16,bfloat16}"),
    ] = None


OF_RESULTS = (
    "eval_temperature",
    "novel_near",
    "coverage_guard",
    "towards_mean",
    "fill_holes",
)  # which metrics.json holds
OF_IMAGES = (*OF_RESULTS, "tile_rule", "network_precision")  # by which a run's images differ


def check_not_of_results(overrides: _ReplacedConfig) -> None:
    """Raises ConfigError for a setting that results were made with, where a command reads results."""
    for name in OF_RESULTS:
        if getattr(overrides, name) is not None:
            raise ConfigError(f"--{name} is that of the results; leave it out")


@dataclass(frozen=True, kw_only=True)
class OverridesConfig(_ReplacedConfig, _Folders):
    """Settings that replace those saved with the run."""


@dataclass(frozen=True, kw_only=True)
class AnyOverridesConfig(_ReplacedConfig, _ByName):
    """Settings that replace those saved with the run."""


@dataclass(frozen=True, kw_only=True)
class MovedOverridesConfig(_ReplacedConfig, _SourceConfig):
    """Settings that replace those saved with the run, of a command that names an expert with --expert."""

    moved: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag("folder of an expert that was moved; NAME is its name in the results", metavar="NAME=PATH"),
    ] = ()


def check_replaced(overrides: _ReplacedConfig) -> None:
    """Raises ConfigError for a number in the place of a saved one that makes no picture."""
    temperature, share = overrides.eval_temperature, overrides.towards_mean
    if temperature is not None and not 1e-6 <= temperature <= 1e6:
        raise ConfigError(f"--eval_temperature is {temperature}: give more than 0, from 1e-6 to 1e6")
    check_novel_near(overrides.novel_near)
    if share is not None and not 0 <= share <= 1:
        raise ConfigError(f"--towards_mean is {share}: give a share between 0 and 1")


def check_moved(given: Any) -> None:
    """Raises ConfigError where a folder given for a moved scene or expert is none. given: settings with such flags."""
    check_folder("--source_path", given.source_path)
    check_target("--cache_path", getattr(given, "cache_path", None))
    for argument in getattr(given, "expert", ()):
        name, path = name_and_folder(argument)
        check_expert(folder_argument(name, path, by_name=True), path, name)
    for spec in EXPERTS.values():
        folder = getattr(given, spec.flag, None)
        if folder is not None:
            check_expert(folder_argument(spec.name, folder, by_name=False), folder, spec.name)
