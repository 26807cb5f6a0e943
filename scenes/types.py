"""Scenes: a rig of static, synchronised cameras and their frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from moegs_rasterizer import Camera

from common.disk.faults import ToldError

if TYPE_CHECKING:  # sources.py imports this module
    from scenes.frames.sources import FrameSource

ResizeFilter = Literal["bilinear", "bicubic", "lanczos", "box"]
ViewFrame = tuple[int, int]  # index into scene.views, frame


class SceneError(ToldError, ValueError):
    """Data that cannot be read; one line naming the file or pattern, what was found and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One static camera of the rig, at the training resolution."""

    name: str  # "cam00"
    number: int  # the digits of its name
    camera: Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesOnDisk:
    """The frames of some views, in the cache and still to be decoded."""

    folder: Path | None = None  # of the cache; None: the frames are not kept on disk
    cached_bytes: int = 0
    missing_bytes: int = 0  # to be written
    decoding_seconds: float = 0.0  # of one core, about
    free_bytes: int = 0  # on the disk of the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """Frames that are decoded together, where a disk does not keep all: `length` of them, at most."""

    length: int  # frame f of the clip is in chunk (f + offset) // length
    offset: int
    most: int  # chunks of all views that there is room for at once


class FrameStore(Protocol):
    """Frames of every view at the training resolution; safe to read from several threads.

    A store whose frames are at hand inherits all but `read`.
    """

    def read(self, view: int, frame: int) -> np.ndarray:
        """Read uint8 [h, w, 3] RGB of views[view] at a frame (0 = the clip's start)."""
        ...

    def prepare(self, views: Iterable[int]) -> None:
        """Make frames of views ready to be read; those of others are made ready when they are first read."""
        return

    def on_disk(self, views: Iterable[int]) -> FramesOnDisk:
        """Tell how much of views is ready, and how much `prepare` would write."""
        return FramesOnDisk()

    def chunks(self) -> Chunks | None:
        """Tell which frames are best read one after the other; None: reading any frame costs the same."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A multi-view clip with its split."""

    name: str
    layout: str  # name of its row in scenes.layouts.LAYOUTS
    root: Path
    views: tuple[View, ...]  # sorted by name
    train: tuple[int, ...]  # indices into views: cameras that the experts are trained on
    test: tuple[int, ...]
    start: int  # number of the clip's first frame in the files
    num_frames: int
    footage_frames: int  # frames in the files from the start on; more than num_frames where the clip was cut short
    frames: FrameStore
    rig_radius: float  # 1.1 x largest distance of a training camera's centre from their mean, data units
    notes: tuple[str, ...]  # what the reader inferred or warns of, one line each
    memory_mb: int = 512  # read-ahead of a Prefetcher, MiB
    frame_rate: Fraction | None = None  # of the footage, frames per second; None for images
    sources: Mapping[str, FrameSource] = field(default_factory=dict)  # files of each view's frames, by its name
    router: tuple[int, ...] = ()  # indices of training cameras that only the router is trained on, as they were chosen
