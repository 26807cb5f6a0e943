"""Records of cache files: the settings and source files that each was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.files import replacing
from scenes.frames.sources import FrameSource
from scenes.types import ResizeFilter

_VERSION = 2  # 2: frames as players show them; pictures of 16 bits and with alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFrames:
    """The frames of one view: their source, numbers and size."""

    name: str
    source: FrameSource
    start: int
    count: int
    width: int
    height: int
    resize: ResizeFilter

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.count, self.height, self.width, 3

    @property
    def bytes(self) -> int:
        return self.count * self.height * self.width * 3


def make_record(frames: ViewFrames, root: Path) -> dict[str, Any]:
    """Make the record of a view as JSON types: settings, and size and modification time of every source file."""
    files = []
    for path in frames.source.files(frames.start, frames.count):
        status = path.stat()
        files.append([path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns])
    return {
        "version": _VERSION,
        "start": frames.start,
        "count": frames.count,
        "width": frames.width,
        "height": frames.height,
        "filter": frames.resize,
        "sources": files,
    }


def cache_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def record_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def is_current(frames: ViewFrames, root: Path, folder: Path) -> bool:
    """Tell whether the cached file of a view is whole and was made from the same files with the same settings."""
    try:
        stored = json.loads(record_file(folder, frames.name).read_text(encoding="utf-8"))
        array = np.load(cache_file(folder, frames.name), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return stored == make_record(frames, root) and array.shape == frames.shape and array.dtype == np.uint8


def write_view_record(frames: ViewFrames, root: Path, folder: Path) -> None:
    target = record_file(folder, frames.name)
    with replacing(target) as temporary:
        temporary.write_text(json.dumps(make_record(frames, root)) + "\n", encoding="utf-8")
