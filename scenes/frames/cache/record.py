"""Files of a frame cache, and their records: the settings and source files that each was made from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.disk.files import read_json, replacing
from scenes.frames.sources import FrameSource
from scenes.types import ResizeFilter

FOLDER = "frame_cache"  # below a scene's folder: its frames, where no other folder is asked for
SUMS = "crc32"  # in a record: of each frame's bytes
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedClip:
    """A file of the frames [start, start + count) of one view, at one size and by one filter."""

    file: Path
    start: int
    count: int

    @property
    def record(self) -> Path:
        return record_file(self.file)

    @property
    def end(self) -> int:
        return self.start + self.count

    def holds(self, frames: ViewFrames) -> bool:
        """Tell whether the frames of a view are among those of the file."""
        return self.start <= frames.start and frames.start + frames.count <= self.end

    def remove(self) -> None:
        """Remove file and record; a process that has mapped the file keeps its frames."""
        self.record.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)


def make_record(frames: ViewFrames, root: Path) -> dict[str, Any]:
    """Make the record of a view as JSON types: settings, and size and modification time of every source file."""
    files = [_stamp(root, path.relative_to(root)) for path in frames.source.files(frames.start, frames.count)]
    return {**_settings(frames, frames.start, frames.count), "sources": files}


def _settings(frames: ViewFrames, start: int, count: int) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "start": start,
        "count": count,
        "width": frames.width,
        "height": frames.height,
        "filter": frames.resize,
    }


def _stamp(root: Path, name: Path) -> list[Any]:
    try:
        status = (root / name).stat()
    except OSError:  # decoding tells what is wrong with the file
        return [name.as_posix(), None, None]
    return [name.as_posix(), status.st_size, status.st_mtime_ns]


def cache_file(frames: ViewFrames, folder: Path) -> Path:
    """Give `<folder>/1352x1014_bilinear/cam00_0-299.npy`, the file of a view's frames."""
    last = frames.start + frames.count - 1
    return _size_folder(frames, folder) / f"{frames.name}_{frames.start}-{last}.npy"


def own_clip(frames: ViewFrames, folder: Path) -> CachedClip:
    """Give the clip of a view's frames and no others."""
    return CachedClip(file=cache_file(frames, folder), start=frames.start, count=frames.count)


def _size_folder(frames: ViewFrames, folder: Path) -> Path:
    return folder / f"{frames.width}x{frames.height}_{frames.resize}"


def record_file(file: Path) -> Path:
    """Give the record of a cache file."""
    return file.with_suffix(".json")


def partial_file(file: Path) -> Path:
    """Give the name under which a cache file is written."""
    return file.with_name(file.name + ".partial")


def recorded_clips(frames: ViewFrames, folder: Path) -> list[CachedClip]:
    """List the clips of a view that have a record, at its size and by its filter, longest first."""
    clips = [
        CachedClip(file=path.with_suffix(".npy"), start=start, count=last - start + 1)
        for path, start, last in _files(frames, folder, ending=".json")
    ]
    return sorted(clips, key=lambda clip: (-clip.count, clip.start))


def partial_files(frames: ViewFrames, folder: Path) -> list[Path]:
    """List the files of a view that a killed process has left unfinished, at its size and by its filter."""
    return [path for path, _, _ in _files(frames, folder, ending=partial_file(Path(".npy")).name)]


def _files(frames: ViewFrames, folder: Path, *, ending: str) -> Iterator[tuple[Path, int, int]]:
    """Files of a view, with the first and last frame in their names."""
    pattern = re.compile(rf"{re.escape(frames.name)}_(\d+)-(\d+){re.escape(ending)}")
    for path in _size_folder(frames, folder).glob("*"):
        if match := pattern.fullmatch(path.name):
            yield path, int(match[1]), int(match[2])


def is_sound(clip: CachedClip, frames: ViewFrames, root: Path) -> bool:
    """Tell whether a clip's file is whole and none of the files that it was made from has changed."""
    try:
        stored = read_json(clip.record)
        array = np.load(clip.file, mmap_mode="r", allow_pickle=False)
        sources = stored.pop("sources")
        sums = stored.pop(SUMS, [0] * clip.count)
        current = [_stamp(root, Path(name)) for name, *_ in sources]
    except Exception:  # a damaged header makes numpy raise anything, as TokenError
        return False
    return (
        stored == _settings(frames, clip.start, clip.count)
        and isinstance(sums, list)
        and [type(each) for each in sums] == [int] * clip.count
        and sources == current
        and array.shape == (clip.count, *frames.shape[1:])
        and array.dtype == np.uint8
    )


def current_clip(frames: ViewFrames, root: Path, folder: Path) -> CachedClip | None:
    """Find a sound cache file that holds a view's frames, made from its source; None where there is none."""
    wanted = [path.relative_to(root).as_posix() for path in frames.source.files(frames.start, frames.count)]
    for clip in recorded_clips(frames, folder):
        if not (clip.holds(frames) and is_sound(clip, frames, root)):
            continue
        try:
            sources = _sources(clip, first=frames.start - clip.start, count=frames.count)
        except FileNotFoundError:  # removed by a process that needs its room
            continue
        if sources == wanted:
            return clip
    return None


def _sources(clip: CachedClip, *, first: int, count: int) -> list[str]:
    """Recorded source files of a clip's frames [first, first + count): one video, or an image per frame."""
    names = [name for name, *_ in read_json(clip.record)["sources"]]
    return names if len(names) == 1 else names[first : first + count]


def recorded_sums(file: Path) -> list[int]:
    """Read the check sum of each frame of a cache file; empty where an earlier version recorded none."""
    sums = read_json(record_file(file)).get(SUMS, [])
    return [int(each) for each in sums]


def write_record(record: dict[str, Any], file: Path) -> None:
    """Write the record of a cache file."""
    with replacing(record_file(file)) as temporary:
        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")
