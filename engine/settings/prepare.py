"""Settings of a preparation: flags, their defaults, and the options that a pipeline gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, check_required, flag
from engine.settings.parsing.command_line import parse_arguments
from engine.settings.training.run import RESOLUTION
from scenes.layouts import PREPARATIONS
from scenes.preparation.options import OtherTrainer, PrepareOptions
from scenes.preparation.sfm.matching import SfmOptions
from scenes.types import ResizeFilter

KINDS = tuple(PREPARATIONS)
GONE = {
    "videopath": "the scene's folder stands after the kind: python moegs.py prepare n3v SCENE",
    "startframe": "use --start_timestamp",
    "endframe": "use --end_timestamp",
    "stride": "use --every",
    "downscale": "use --resolution",
    "test_cameras": "all cameras are prepared; give it to train-expert and to the training of the router",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageConfig:
    """The part of the footage to prepare, and the files to write."""

    start_timestamp: Annotated[int, flag("first frame of the clip, by its number in the files")] = 0
    end_timestamp: Annotated[
        int, flag("first frame after the clip, by its number in the files; -1: use every frame")
    ] = -1
    every: Annotated[
        int | None,
        flag("find start points at every N-th frame; default: at the first frame only", metavar="N"),
    ] = None
    all_frames: Annotated[bool, flag("find start points at every frame, for STG; the same as --every 1; slow")] = False
    frames: Annotated[
        Literal["needed", "all"],
        flag(
            "frames of videos to write as images; needed: those with start points; all: every frame, for other trainers"
        ),
    ] = "needed"
    resolution: Annotated[
        int,
        flag(f"size of the written images; {RESOLUTION}", "-r"),
    ] = 1
    resize_filter: Annotated[ResizeFilter, flag("filter that makes images smaller")] = "bilinear"
    layouts: Annotated[
        tuple[OtherTrainer, ...],
        flag(
            "also link the images into folders for the own code of ed3dgs, 4dgaussians; needs --frames all",
            metavar="NAME ...",
        ),
    ] = ()
    upstream_moegs: Annotated[
        bool, flag("also write transforms_train.json and transforms_test.json for the paper's own code")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesConfig:
    """The search for features and points. A second attempt with finer settings follows by itself if few are found."""

    max_image_size: Annotated[int, flag("longest side of an image for finding features, in px; 0: no limit")] = 4096
    max_features: Annotated[int, flag("maximum number of features per image")] = 8192
    peak_threshold: Annotated[float, flag("SIFT peak threshold; a lower value finds fainter features")] = 0.004
    edge_threshold: Annotated[float, flag("SIFT edge threshold; a higher value keeps more features on edges")] = 30.0
    affine_shape: Annotated[bool, flag("adapt features to slanted surfaces; slow, CPU only")] = False
    domain_size_pooling: Annotated[bool, flag("pool descriptors over several sizes; slow, CPU only")] = False
    guided_matching: Annotated[bool, flag("match a second time, along epipolar lines")] = False
    verify_by_cameras: Annotated[bool, flag("keep exactly the matches that agree with the known cameras")] = False
    two_view_points: Annotated[bool, flag("keep points that only two cameras see; more points, less exact")] = False
    accept_poor: Annotated[bool, flag("keep a poor result: few points, an error above 2 px, or missing cameras")] = (
        False
    )
    threads: Annotated[int | None, flag("number of CPU threads; default: all cores", metavar="INT")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CamerasConfig:
    """The search for unknown cameras. For `videos` only."""

    mapped_frame: Annotated[int | None, flag("frame to find the cameras from; default: the first", metavar="INT")] = (
        None
    )
    leave_out: Annotated[
        tuple[str, ...], flag("videos or folders in the scene folder that are not cameras", metavar="NAME ...")
    ] = ()
    accept_moving: Annotated[bool, flag("accept cameras that seem to move")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """All settings of a preparation; flags are the fields' names, without the groups."""

    kind: Annotated[
        tyro.conf.Positional[str], flag(f"kind of the scene: {', '.join(KINDS[:-1])} or {KINDS[-1]}", metavar="KIND")
    ] = ""
    scene: Annotated[tyro.conf.Positional[Path | None], flag("folder of the scene", metavar="SCENE")] = None
    footage: FootageConfig = field(default_factory=FootageConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    cameras: CamerasConfig = field(default_factory=CamerasConfig)
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def read_prepare_settings(arguments: Sequence[str], *, prog: str, description: str) -> PrepareConfig:
    """Settings from the arguments. Raises ConfigError for what is missing, unknown or out of range."""
    page = prepare_page(prog, description, kind=next((name for name in arguments if name in KINDS), None))
    config = parse_arguments(PrepareConfig, arguments, defaults=PrepareConfig(), page=page, retired=GONE)
    if config.kind:
        _check_kind(config)
    check_required(config, page)
    _check_numbers(config)
    _check_cameras(config)
    return config


def prepare_page(prog: str, about: str, *, kind: str | None) -> CommandHelp:
    """The help of `moegs.py prepare`, for one kind of scene or for all."""
    taken = _names(CamerasConfig) if kind is None else _names(PREPARATIONS[kind].options)
    scenes = {"n3v": "data/N3V/flame_steak", "technicolor": "data/techni/Birthday"}
    kinds = KINDS if kind is None else (kind,)
    return CommandHelp(
        prog=prog,
        about=about,
        required=("kind", "scene"),
        hidden=tuple(name for name in _names(CamerasConfig) if name not in taken),
        examples=tuple(f"python {prog} {name} {scenes.get(name, 'data/mine')}" for name in kinds),
    )


def _check_kind(config: PrepareConfig) -> None:
    if config.kind not in KINDS:
        raise ConfigError(f"nothing called {config.kind!r} can be prepared; {hint(config.kind, KINDS)}")


def _check_cameras(config: PrepareConfig) -> None:
    used, default = _camera_settings(config), CamerasConfig()
    for name in _names(CamerasConfig):
        if name not in used and getattr(config.cameras, name) != getattr(default, name):
            raise ConfigError(f"--{name} is for videos whose cameras are unknown; leave it out for {config.kind}")


def _check_numbers(config: PrepareConfig) -> None:
    footage, features = config.footage, config.features
    if footage.all_frames and footage.every not in (None, 1):
        raise ConfigError(f"--all_frames and --every {footage.every} exclude each other: give one")
    numbers: dict[str, Any] = {"every": footage.every}
    if features.max_image_size < 0:
        raise ConfigError(f"--max_image_size is {features.max_image_size}: give more than 0, or 0 for no limit")
    for name in ("max_features", "peak_threshold", "edge_threshold", "threads"):
        numbers[name] = getattr(features, name)
    for name, value in numbers.items():
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"--{name} is {value}: give more than 0")
    if footage.start_timestamp < 0:
        raise ConfigError(f"--start_timestamp is {footage.start_timestamp}: frames are counted from 0")


def options_of(config: PrepareConfig) -> PrepareOptions:
    """The settings as the pipelines take them."""
    footage, features = config.footage, config.features
    progress = not config.quiet
    given = {name: getattr(features, name) for name in _names(FeaturesConfig)}
    shared: dict[str, Any] = {
        "sfm": SfmOptions(**given, progress=progress),
        "start": footage.start_timestamp,
        "end": footage.end_timestamp,
        "every": 1 if footage.all_frames else footage.every,
        "frames": footage.frames,
        "resolution": footage.resolution,
        "resize": footage.resize_filter,
        "trainer_folders": footage.layouts,
        "upstream_moegs": footage.upstream_moegs,
        "progress": progress,
    }
    return PREPARATIONS[config.kind].options(**shared, **_camera_settings(config))


def _camera_settings(config: PrepareConfig) -> dict[str, Any]:
    """Those of the settings about unknown cameras that the preparation takes."""
    taken = _names(PREPARATIONS[config.kind].options)
    return {name: getattr(config.cameras, name) for name in _names(CamerasConfig) if name in taken}


def _names(settings: Any) -> list[str]:
    return [field.name for field in fields(settings)]
