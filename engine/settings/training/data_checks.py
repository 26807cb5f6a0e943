"""The conditions that a part of a scene must satisfy, before the scene is opened."""

from __future__ import annotations

from engine.errors import ConfigError
from engine.settings.training.run import DataConfig


def check_data(data: DataConfig) -> None:
    """Raises ConfigError for settings that leave no frame, or no camera to score on, in any scene."""
    start, end = data.start_timestamp, data.end_timestamp
    if start < 0:
        raise ConfigError(f"--start_timestamp is {start}: frames are counted from 0")
    if end != -1 and end <= start:
        raise ConfigError(
            f"--end_timestamp is {end} and --start_timestamp {start}: that leaves no frame; give an end above the "
            "start, or -1 for every frame"
        )
    if data.duration != -1 and data.duration < 1:
        raise ConfigError(f"--duration is {data.duration}: give 1 or more, or -1 for every frame")
    if data.test_cameras == ():
        raise ConfigError("--test_cameras has no value: name one camera or more, or leave it out")
    if data.router_cameras < 0:
        raise ConfigError(f"--router_cameras is {data.router_cameras}: give 0 or more")
