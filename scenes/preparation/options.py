"""Options of a preparation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scenes.preparation.sfm.matching import SfmOptions
from scenes.types import ResizeFilter, SceneError

OtherTrainer = Literal["ed3dgs", "4dgaussians"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """Options of preparing a scene; frame numbers are those of the files."""

    sfm: SfmOptions
    start: int = 0  # first frame of the clip, whose points every expert starts from
    end: int = -1  # first frame after the clip; -1: as many as there are
    every: int | None = None  # also points of every N-th frame after the first; 1: of all frames; None: first alone
    frames: Literal["needed", "all"] = "needed"  # images written: those COLMAP needs, or the whole clip
    resolution: int = 1  # of the images written and given to COLMAP; 3DGS's rule: 1, 2, 4, 8 divide, else width in px
    resize: ResizeFilter = "bilinear"
    trainer_folders: tuple[OtherTrainer, ...] = ()  # links to the one set of images, as these trainers want them
    upstream_moegs: bool = False  # also transforms_train.json and transforms_test.json
    progress: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VideosOptions(PrepareOptions):
    """Options of preparing a folder of videos whose cameras are unknown."""

    mapped_frame: int | None = None  # structure from motion runs on this frame; None: the first
    leave_out: tuple[str, ...] = ()  # files or folders that are none of the cameras
    accept_moving: bool = False  # go on where a camera seems to move


def check_options(root: Path, options: PrepareOptions) -> None:
    """Raise SceneError where options contradict each other."""
    if options.every is not None and options.every < 1:
        raise SceneError(f"every {options.every} means nothing: give 1 for all frames, N for every N-th")
    if options.trainer_folders and options.frames != "all":
        raise SceneError(
            f"{root}: the layouts {', '.join(options.trainer_folders)} link to the images of all frames; "
            "have them written by --frames all"
        )
