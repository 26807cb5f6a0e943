"""Cameras out of step by known frames, and how many are found: python -m benchmarks.offsets SCENE."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import tyro

from scenes import FrameStore, Scene, SceneOptions, load_scene
from scenes.footage import check_frames

LATE = (1, -1, 2, -2, 3, -3, 5, -5, 12, -12)  # frames


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetsConfig:
    """A scene, and the part of it to compare."""

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help="folder of the scene", metavar="SCENE")]
    first: Annotated[int, tyro.conf.arg(help="first frame of the clip; the footage goes on before and after it")] = 30
    count: Annotated[int, tyro.conf.arg(help="frames of the clip")] = 80
    every: Annotated[int, tyro.conf.arg(help="spoil every N-th camera")] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LateFrames(FrameStore):
    """A clip of frames in which some cameras are late."""

    frames: FrameStore
    first: int
    late: dict[int, int] = field(default_factory=dict)

    def read(self, view: int, frame: int) -> np.ndarray:
        """Read an image of the clip."""
        return self.frames.read(view, self.first + frame - self.late.get(view, 0))


def main(arguments: Sequence[str]) -> int:
    """Prints how many offsets were found within half a frame, and how many other cameras were taken for late."""
    config = tyro.cli(OffsetsConfig, args=list(arguments), prog="python -m benchmarks.offsets")
    with TemporaryDirectory() as cache:
        scene = load_scene(config.scene, SceneOptions(cache=Path(cache)))
        print(measured(scene, config))
    return 0


def measured(scene: Scene, config: OffsetsConfig) -> str:
    """One line of counts over the cameras and LATE."""
    found = alarms = others = trials = 0
    for view in range(0, len(scene.views), config.every):
        for late in LATE:
            frames = LateFrames(frames=scene.frames, first=config.first, late={view: late})
            rows = check_frames(replace(scene, num_frames=config.count, frames=frames)).cameras
            offsets = [row.offset for row in rows]
            stray = [index for index, each in enumerate(offsets) if each is not None and each.is_out_of_step]
            own = offsets[view]
            found += own is not None and own.is_out_of_step and abs(own.frames - late) <= 0.5
            alarms += len(set(stray) - {view})
            others += len(offsets) - 1
            trials += 1
    return f"{scene.name}: found {found} of {trials}; false alarms at {alarms} of {others} other cameras"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
