"""Frames on a disk with little room: decoded in chunks when they are read, and the longest unread ones removed."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.cores import usable_cores
from common.disk.files import free_bytes, replacing
from common.disk.leftovers import sweep
from common.disk.locks import folder_lock
from common.text.units import GIGABYTE
from common.text.wording import bytes_text, counted
from scenes.frames.cache.record import (
    SUMS,
    CachedClip,
    ViewFrames,
    cache_file,
    current_clip,
    make_record,
    own_clip,
    recorded_sums,
    write_record,
)
from scenes.frames.cache.room import make_room
from scenes.frames.cache.writing import disk_too_full, header_bytes, make_cache_folder, make_size_folder, write_frames
from scenes.frames.sources import decoding_seconds
from scenes.types import Chunks, FramesOnDisk, FrameStore, SceneError

logger = logging.getLogger(__name__)

LONGEST = 32  # frames of a chunk: decoding begins at a key frame, so that short chunks cost more
RESIDENT = 4  # chunks of all views that have room at least: those in use, and those that come next
MOST_THREADS = 4  # that decode a chunk: each holds frames of its own
TOUCH_EVERY = 1.0  # seconds between two marks that a chunk is in use
ATTEMPTS = 100  # at a chunk that others remove before it is read
_PATIENCE = 600.0  # seconds to wait for it, longer than a chunk takes
_WAIT = 0.05  # seconds between looks for room that others give back
_LARGEST_SUM = 2**32 - 1


class BoundedCache(FrameStore):
    """Frame store of at most `limit` bytes, on files as those of FrameCache, of a chunk of frames each.

    Every frame has the pixels that FrameCache gives. All files of frames in the folder count, also those of other
    processes and of clips that were decoded whole. A file counts in full from before its first frame is decoded on, and
    what a killed process leaves is removed by the next. Safe to read from several threads, which decode side by side.
    SceneError where the limit does not hold RESIDENT chunks of a frame of all views.
    """

    def __init__(
        self, folder: Path, views: Sequence[ViewFrames], *, root: Path, limit: int, progress: bool = False
    ) -> None:
        self._folder = folder
        self._views = tuple(views)
        self._root = root
        self._limit = limit
        self._progress = progress
        self._length = self._chunk_length()
        self._held: dict[tuple[int, int], _HeldChunk] = {}
        self._making: defaultdict[tuple[int, int], threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._alone = threading.Lock()  # before the folder's lock, which is looked at every 50 ms alone

    def prepare(self, views: Iterable[int]) -> None:
        """Say where frames will be; they are decoded when they are read."""
        if self._progress:
            limit, chunk = bytes_text(self._limit), counted(self._length, "frame")
            logger.info("frames: at most %s in %s, decoded in chunks of %s", limit, self._folder, chunk)

    def read(self, view: int, frame: int) -> np.ndarray:
        """Read uint8 [h, w, 3] RGB, the caller's own; decodes its chunk first where that is not on disk."""
        frames = self._views[view]
        if not 0 <= frame < frames.count:
            raise IndexError(f"frame {frame} of {frames.name}: the clip has {counted(frames.count, 'frame')}")
        key, damaged = (view, self._number(frame)), False
        for _ in range(ATTEMPTS):
            held = self._held.get(key) or self._made(key)
            pixels = None if held is None else held.read(frames.start + frame, frames)
            if held is not None and pixels is not None:
                if held.is_whole(pixels, frames.start + frame):
                    return pixels
                self._remove(held.clip, frames, frame, again=damaged)
                damaged = True
            self._held.pop(key, None)
        raise SceneError(
            f"{self._folder}: frames are removed by other processes before they are read; give more --cache_gb, or "
            "each process a --cache_path of its own"
        )

    def _remove(self, clip: CachedClip, frames: ViewFrames, frame: int, *, again: bool) -> None:
        """Remove a clip one of whose frames is not what was written; SceneError where it was decoded just before."""
        if again:
            raise SceneError(
                f"{clip.file}: frame {frame} of {frames.name} changed just after it was decoded; check the disk, or "
                "choose another cache folder with --cache_path"
            )
        told = "%s: frame %d of %s changed since it was decoded; decoding %s again"
        logger.warning(told, clip.file, frame, frames.name, frames.name)
        clip.remove()

    def on_disk(self, views: Iterable[int]) -> FramesOnDisk:
        """Tell how much of views is on disk, and how much is to be decoded, of which at most the limit is kept."""
        cached = missing = 0
        seconds = 0.0
        for view in views:
            for number in range(self._number(0), self._number(self._views[view].count - 1) + 1):
                chunk = self._chunk((view, number))
                if current_clip(chunk, self._root, self._folder) is None:
                    missing += chunk.bytes
                    seconds += decoding_seconds(chunk.source, chunk.count)
                else:
                    cached += chunk.bytes
        return FramesOnDisk(
            folder=self._folder,
            cached_bytes=cached,
            missing_bytes=min(missing, self._limit),
            decoding_seconds=seconds,
            free_bytes=free_bytes(self._folder),
        )

    def chunks(self) -> Chunks:
        """Tell how frames are kept together, and how much of the clip has room at once."""
        most = self._limit // sum(self._most_bytes(frames, self._length) for frames in self._views)
        return Chunks(length=self._length, offset=self._views[0].start % self._length, most=most)

    def _chunk_length(self) -> int:
        for length in (LONGEST >> halved for halved in range(LONGEST.bit_length())):
            if RESIDENT * sum(self._most_bytes(frames, length) for frames in self._views) <= self._limit:
                return length
        least = RESIDENT * sum(self._most_bytes(frames, 1) for frames in self._views)
        needed = math.ceil(least / GIGABYTE * 1e4) / 1e4
        raise SceneError(
            f"--cache_gb is {self._limit / GIGABYTE:g}: {counted(RESIDENT, 'frame')} of "
            f"{counted(len(self._views), 'camera')} take {bytes_text(least)}; give {needed:g} or more, or a lower "
            "--resolution"
        )

    def _most_bytes(self, frames: ViewFrames, length: int) -> int:
        """Bytes of a chunk's file and record; its sums and numbers are taken as long as they can be."""
        count = min(length, frames.count)
        chunk = replace(frames, start=frames.start + frames.count - count, count=count)
        return _bytes_on_disk(chunk, make_record(chunk, self._root))

    def _number(self, frame: int) -> int:
        """Chunks are counted from the first frame of the files, so that clips with other starts share them."""
        return (self._views[0].start + frame) // self._length

    def _chunk(self, key: tuple[int, int]) -> ViewFrames:
        view, number = key
        frames = self._views[view]
        start = max(frames.start, number * self._length)
        end = min(frames.start + frames.count, (number + 1) * self._length)
        return replace(frames, start=start, count=end - start)

    def _made(self, key: tuple[int, int]) -> _HeldChunk | None:
        """The chunk of a view and number, decoded where it is not on disk; other threads go on meanwhile.

        None where others have removed it already.
        """
        with self._lock:
            making = self._making[key]
        with making:
            held = self._held.get(key)
            if held is None:
                chunk = self._chunk(key)
                clip = self._found(chunk) or self._decoded(chunk)
                try:
                    held = self._held[key] = _HeldChunk(clip=clip, sums=recorded_sums(clip.file))
                except FileNotFoundError:
                    return None
            return held

    def _found(self, chunk: ViewFrames) -> CachedClip | None:
        return current_clip(chunk, self._root, self._folder) if self._folder.is_dir() else None

    def _decoded(self, chunk: ViewFrames) -> CachedClip:
        """Decode a chunk to a file whose room is taken before."""
        make_cache_folder(self._folder)
        target = cache_file(chunk, self._folder)
        record = make_record(chunk, self._root)  # before decoding: a change meanwhile is seen by the next run
        with ExitStack() as stack:
            partial = self._taken(chunk, _bytes_on_disk(chunk, record), stack)
            threads = min(MOST_THREADS, usable_cores())
            sums = write_frames(chunk, partial, threads=threads, mode="r+b", step=lambda: None)
            with self._alone, folder_lock(self._folder):  # held until the record has the rest of the room
                os.truncate(partial, header_bytes(chunk) + chunk.bytes)
                stack.close()  # the file has its name from here on
                write_record(record | {SUMS: sums}, target)
        return own_clip(chunk, self._folder)

    def _taken(self, chunk: ViewFrames, needed: int, stack: ExitStack) -> Path:
        """A held file as large as a chunk and its record will be, made once there is room for it."""
        begun = time.monotonic()
        while time.monotonic() - begun < _PATIENCE:
            with self._alone, folder_lock(self._folder):
                make_size_folder(chunk, self._folder)
                sweep(self._folder)
                if make_room(self._folder, needed=needed, limit=self._limit):
                    free = free_bytes(self._folder)
                    if needed > free:
                        raise disk_too_full(self._folder, needed=needed, free=free, views=1)
                    partial = stack.enter_context(replacing(cache_file(chunk, self._folder)))
                    os.truncate(partial, needed)
                    return partial
            time.sleep(_WAIT)  # others are decoding into what room there is
        raise SceneError(
            f"{self._folder}: files that others are writing (.saving_*) leave no room within --cache_gb; delete them "
            "if no command is running, or give more"
        )


@dataclass(slots=True, kw_only=True)
class _HeldChunk:
    """A file that holds a chunk, as long as nobody removes it."""

    clip: CachedClip
    sums: list[int]  # of the file's frames; empty where they are not known
    _compared: set[int] = field(default_factory=set)
    _touched: float = -math.inf

    def read(self, number: int, frames: ViewFrames) -> np.ndarray | None:
        """Read a frame by its number in the files; None where the file is gone."""
        pixels = np.empty(frames.shape[1:], np.uint8)
        index = number - self.clip.start
        try:
            if time.monotonic() - self._touched > TOUCH_EVERY:
                os.utime(self.clip.file)
                self._touched = time.monotonic()
            with open(self.clip.file, "rb") as file:
                file.seek((index - self.clip.count) * pixels.nbytes, os.SEEK_END)
                file.readinto(pixels.data)
        except FileNotFoundError:
            return None
        return pixels

    def is_whole(self, pixels: np.ndarray, number: int) -> bool:
        """Tell whether a frame is what was written, where it is read for the first time."""
        index = number - self.clip.start
        if index not in self._compared:
            if self.sums and zlib.crc32(pixels.data) != self.sums[index]:
                return False
            self._compared.add(index)
        return True


def _bytes_on_disk(chunk: ViewFrames, record: dict[str, Any]) -> int:
    """Bytes of a chunk's file and of its record, whose sums are taken as long as they can be."""
    return header_bytes(chunk) + chunk.bytes + len(json.dumps(record | {SUMS: [_LARGEST_SUM] * chunk.count})) + 1
