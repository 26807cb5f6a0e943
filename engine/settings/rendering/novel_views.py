"""Settings of views that no camera recorded: their cameras and times."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.settings.parsing.command_help import flag
from engine.settings.parsing.fields import values_of
from scenes.trajectories import TRAJECTORIES


@dataclass(frozen=True, slots=True, kw_only=True)
class NovelViewConfig:
    """Videos of views that no camera recorded. They replace the usual videos and have no scores."""

    y_offset: Annotated[
        float | None,
        flag(
            "move the held-out cameras up by this much, in scene units; up is the mean of all cameras' up directions "
            "(for N3V)",
            metavar="FLOAT",
        ),
    ] = None
    focal_mm: Annotated[
        float | None,
        flag(
            "focal length of the held-out cameras in mm, 35 mm equivalent: fx = fy = focal_mm / 36 x width "
            "(for Technicolor)",
            metavar="FLOAT",
        ),
    ] = None
    trajectory: Annotated[
        str | None,
        flag(
            "path of a moving camera: spiral among the training cameras, orbit around what they look at, interpolate "
            "from one to the next, or a JSON file of cameras",
            metavar="spiral|orbit|interpolate|FILE.json",
        ),
    ] = None
    frames: Annotated[
        str | None, flag("frames to show, from A to before B, counted from 0; default: all", metavar="A:B")
    ] = None
    freeze_time: Annotated[
        float | None, flag("show this frame alone; a fraction lies between two frames", metavar="FRAME")
    ] = None
    slow_motion: Annotated[
        float | None, flag("images per recorded frame: 4 shows three images between two frames", metavar="FLOAT")
    ] = None


def views_name(novel: NovelViewConfig, rules: Mapping[str, float | str | None] = MappingProxyType({})) -> str:
    """Name of the views in result folders: "y_offset_0.1"; empty where nothing is given.

    rules: of showing them, by flag name, where they are not the run's own; None: not given.
    """
    given = {name: value for name, value in values_of(novel).items() if value is not None}
    if not given:
        return ""
    given |= {name: value for name, value in rules.items() if value is not None}
    texts = {name: value if isinstance(value, str) else str(value).removesuffix(".0") for name, value in given.items()}
    if (file := trajectory_file(novel)) is not None:
        texts["trajectory"] = f"{file.stem}-{_path_mark(file)}"
    return "_".join(f"{name}_{text.replace(':', '-')}" for name, text in texts.items())


def _path_mark(file: Path) -> str:
    """Eight hexadecimal digits of a file's whole path, as a/path.json and b/path.json have the same name."""
    return hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]


def trajectory_file(novel: NovelViewConfig) -> Path | None:
    """The file that --trajectory names; None for a path by name, and without a trajectory."""
    given = novel.trajectory
    return None if given is None or given in TRAJECTORIES else Path(given)


def frame_range(novel: NovelViewConfig, num_frames: int | None = None) -> tuple[int, int]:
    """First frame of --frames, and the one after the last; ConfigError where it is no range of the clip.

    num_frames: of the clip; None: not known yet.
    """
    given = novel.frames
    match = re.fullmatch(r"(\d*):(\d*)", given or ":")
    last = sys.maxsize if num_frames is None else num_frames
    first, end = (int(match[1] or 0), int(match[2] or last)) if match else (0, 0)
    if not first < end <= last:
        clip = "" if num_frames is None else f"; the clip has {num_frames} frames"
        raise ConfigError(f"--frames is {given}: give A:B with A less than B, such as 0:50{clip}")
    return first, end


def check_novel_views(novel: NovelViewConfig) -> None:
    """Raises ConfigError for settings that are out of range or exclude each other."""
    for name in ("focal_mm", "slow_motion"):
        value = getattr(novel, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name} is {value}: give more than 0")
    if novel.freeze_time is not None and novel.slow_motion is not None:
        raise ConfigError("--freeze_time and --slow_motion exclude each other: give one")
    file = trajectory_file(novel)
    if file is not None and file.suffix.lower() != ".json":
        advice = hint(str(file), TRAJECTORIES, otherwise=f"give {', '.join(TRAJECTORIES)} or a .json file")
        raise ConfigError(f"--trajectory {file}: no such path; {advice}")
    frame_range(novel)
