"""Settings of a preparation: flags, their defaults, and the options that a pipeline gets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from common.suggestions import hint
from engine.errors import ConfigError
from engine.settings.command_line import flag, parse_arguments
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
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageConfig:
    """The part of the footage to prepare, and the files to write of it."""

    start_timestamp: Annotated[int, flag("first frame of the clip, as the files number it")] = 0
    end_timestamp: Annotated[int, flag("first frame after the clip; -1: as many as there are")] = -1
    every: Annotated[
        int | None,
        flag("also find points at every N-th frame after the first; default: the first alone", metavar="N"),
    ] = None
    all_frames: Annotated[bool, flag("find points at all frames, as STG's own trainer wants them")] = False
    frames: Annotated[
        Literal["needed", "all"],
        flag("images written from videos: those that points are found in, or the whole clip for other trainers"),
    ] = "needed"
    resolution: Annotated[
        int,
        flag("of these images; 1, 2, 4, 8: divide the size; -1: at most 1600 px wide; else: width in pixels", "-r"),
    ] = 1
    resize_filter: Annotated[ResizeFilter, flag("how images are made smaller")] = "bilinear"
    layouts: Annotated[
        tuple[OtherTrainer, ...],
        flag("also link the images as these trainers' own code wants them (ed3dgs, 4dgaussians)", metavar="NAME ..."),
    ] = ()
    upstream_moegs: Annotated[
        bool, flag("also write transforms_train.json and transforms_test.json, which MoE-GS's own scripts ask for")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesConfig:
    """The search for features, matches and points; where few are found, a second attempt changes these by itself."""

    max_image_size: Annotated[
        int | None, flag("larger images are shrunk for finding features, px; None: never", metavar="INT|None")
    ] = 4096
    max_features: Annotated[int, flag("most features an image")] = 8192
    peak_threshold: Annotated[float, flag("SIFT's; lower finds fainter features")] = 0.004
    edge_threshold: Annotated[float, flag("SIFT's; higher keeps more features that lie on edges")] = 30.0
    affine_shape: Annotated[bool, flag("adapt features to slanted surfaces; slow, on the CPU only")] = False
    domain_size_pooling: Annotated[bool, flag("pool descriptors over sizes; slow, on the CPU only")] = False
    guided_matching: Annotated[bool, flag("match once more along the epipolar lines of the first matches")] = False
    verify_by_cameras: Annotated[bool, flag("let the known cameras alone decide which matches hold")] = False
    two_view_points: Annotated[bool, flag("keep points that only two cameras see: more, but less exact")] = False
    accept_poor: Annotated[bool, flag("go on with a result that is too poor, or lacks cameras")] = False
    threads: Annotated[int | None, flag("threads; default: all cores", metavar="INT")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CamerasConfig:
    """The search for unknown cameras: `videos` only."""

    mapped_frame: Annotated[
        int | None, flag("frame that the cameras are found from; default: the first", metavar="INT")
    ] = None
    leave_out: Annotated[
        tuple[str, ...], flag("videos or folders of the scene that are none of the cameras", metavar="NAME ...")
    ] = ()
    accept_moving: Annotated[bool, flag("go on where a camera seems to move")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """All settings of a preparation; flags are the fields' names, without the groups."""

    kind: Annotated[tyro.conf.Positional[str], flag(f"{', '.join(KINDS[:-1])} or {KINDS[-1]}", metavar="KIND")] = ""
    scene: Annotated[tyro.conf.Positional[Path | None], flag("folder of the scene", metavar="SCENE")] = None
    footage: FootageConfig = field(default_factory=FootageConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    cameras: CamerasConfig = field(default_factory=CamerasConfig)
    quiet: Annotated[bool, flag("show warnings only")] = False
    debug: Annotated[bool, flag("show the traceback of an error")] = False


def read_prepare_settings(arguments: Sequence[str], *, prog: str, description: str) -> PrepareConfig:
    """Settings from the arguments. Raises ConfigError for what is missing, unknown or out of range."""
    config = parse_arguments(
        PrepareConfig, arguments, defaults=PrepareConfig(), prog=prog, description=description, retired=GONE
    )
    _check_kind(config)
    if config.scene is None:
        raise ConfigError(f"the folder of the scene is missing: {prog} {config.kind} SCENE")
    _check_numbers(config)
    _check_cameras(config)
    return config


def _check_kind(config: PrepareConfig) -> None:
    if not config.kind:
        raise ConfigError(f"say what to prepare: {', '.join(KINDS)}, then the folder of the scene")
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
    for name in ("max_image_size", "max_features", "peak_threshold", "edge_threshold", "threads"):
        numbers[name] = getattr(features, name)
    for name, value in numbers.items():
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"--{name} is {value}: give more than 0")
    if footage.start_timestamp < 0:
        raise ConfigError(f"--start_timestamp is {footage.start_timestamp}: frames are counted from 0")


def options_of(config: PrepareConfig) -> PrepareOptions:
    """The settings as the pipelines take them; bars are shown on a terminal only."""
    footage, features = config.footage, config.features
    progress = not config.quiet and sys.stderr.isatty()
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
