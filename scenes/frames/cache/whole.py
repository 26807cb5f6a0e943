"""Frames of all views, decoded once at the training resolution and kept on disk."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from common.cores import usable_cores
from common.disk.files import free_bytes
from common.disk.leftovers import sweep
from common.disk.locks import folder_lock
from common.text.progress import Progress
from common.text.wording import bytes_text, counted, first_and_more
from scenes.frames.cache.mapped import MappedFrames, mapped_frames
from scenes.frames.cache.record import (
    SUMS,
    ViewFrames,
    cache_file,
    current_clip,
    is_sound,
    make_record,
    own_clip,
    partial_file,
    partial_files,
    recorded_clips,
    write_record,
)
from scenes.frames.cache.writing import disk_too_full, make_cache_folder, make_size_folder, write_frames
from scenes.frames.sources import decoding_seconds
from scenes.types import FramesOnDisk, FrameStore, SceneError

logger = logging.getLogger(__name__)


class FrameCache(FrameStore):
    """Frame store on `<folder>/<width>x<height>_<filter>/<view>_<first>-<last>.npy` (uint8 [frames, h, w, 3]).

    Each file has its record beside it. A clip is read from any file that holds it and whose sources have not changed.
    Else it is decoded, written under a temporary name and renamed, so that an interrupted run loses only unfinished
    views, and a process that has mapped an older file keeps it. Safe to read from several threads.
    """

    def __init__(self, folder: Path, views: Sequence[ViewFrames], *, root: Path, progress: bool) -> None:
        self._folder = folder
        self._views = tuple(views)
        self._root = root
        self._progress = progress
        self._mapped: dict[int, MappedFrames] = {}
        self._lock = threading.Lock()

    def prepare(self, views: Iterable[int]) -> None:
        """Make sure that views are on disk; SceneError where a source is damaged or the disk too full."""
        views = list(views)
        if not self._open(views) and self._progress and views:
            size = bytes_text(sum(self._views[view].bytes for view in views))
            logger.info("frames: cache %s (%s)", self._folder, size)

    def read(self, view: int, frame: int) -> np.ndarray:
        """Read uint8 [h, w, 3] RGB, the caller's own copy; decodes the view first where that has not happened yet."""
        if not 0 <= frame < self._views[view].count:
            raise IndexError(
                f"frame {frame} of {self._views[view].name}: the clip has {counted(self._views[view].count, 'frame')}"
            )
        if view not in self._mapped:
            self._open([view])
        pixels = self._mapped[view].read(frame)
        return self._mended(view, frame) if pixels is None else pixels

    def _mended(self, view: int, frame: int) -> np.ndarray:
        """Decode a view again, one of whose frames is not what was written; give this frame.

        SceneError where the source is gone or damaged, or the new file is damaged too.
        """
        with self._lock, folder_lock(self._folder):  # of several threads and processes, the first one decodes
            frames = self._views[view]
            current = current_clip(frames, self._root, self._folder)
            pixels = None if current is None else mapped_frames(current, frames).read(frame)
            if current is not None and pixels is None:
                told = "%s: frame %d of %s changed since it was decoded; decoding %s again"
                logger.warning(told, current.file, frame, frames.name, frames.name)
                current.remove()
            self._map([view])
            pixels = self._mapped[view].read(frame)
        if pixels is None:
            raise SceneError(
                f"{self._mapped[view].file}: frame {frame} of {frames.name} changed just after it was decoded; check "
                "the disk, or choose another cache folder with --cache_path"
            )
        return pixels

    def on_disk(self, views: Iterable[int]) -> FramesOnDisk:
        """Tell how much of views is in the cache, and how much is still to be decoded; nothing is decoded."""
        chosen = [self._views[view] for view in views]
        missing = [frames for frames in chosen if current_clip(frames, self._root, self._folder) is None]
        return FramesOnDisk(
            folder=self._folder,
            cached_bytes=sum(frames.bytes for frames in chosen) - sum(frames.bytes for frames in missing),
            missing_bytes=sum(frames.bytes for frames in missing),
            decoding_seconds=sum(decoding_seconds(frames.source, frames.count) for frames in missing),
            free_bytes=free_bytes(self._folder),
        )

    def _open(self, views: Collection[int]) -> bool:
        """Map the files of views, after decoding those that are missing; tells whether any was."""
        with self._lock:
            wanted = [view for view in dict.fromkeys(views) if view not in self._mapped]
            if not wanted:
                return False
            make_cache_folder(self._folder)
            with folder_lock(self._folder):  # held while files are mapped: another process may remove a shorter clip
                return self._map(wanted)

    def _map(self, views: Sequence[int]) -> bool:
        """Map the files of views, after decoding those that are missing; the caller holds the locks."""
        clips = {view: current_clip(self._views[view], self._root, self._folder) for view in views}
        missing = [self._views[view] for view, clip in clips.items() if clip is None]
        if missing:
            sweep(self._folder)  # records that a killed process left
            self._make_room(missing)
            self._decode(missing)
        for view, clip in clips.items():
            frames = self._views[view]
            self._mapped[view] = mapped_frames(clip or own_clip(frames, self._folder), frames)
        return bool(missing)

    def _make_room(self, missing: Sequence[ViewFrames]) -> None:
        """Remove clips of the views that are damaged or whose sources have changed.

        SceneError, with nothing removed, where the disk is too full.
        """
        outdated = [
            clip
            for frames in missing
            for clip in recorded_clips(frames, self._folder)
            if not is_sound(clip, frames, self._root)
        ]
        needed = sum(frames.bytes for frames in missing)
        replaced = {clip.file for clip in outdated} | {cache_file(frames, self._folder) for frames in missing}
        free = free_bytes(self._folder) + sum(path.stat().st_size for path in replaced if path.exists())
        if needed > free:
            raise disk_too_full(self._folder, needed=needed, free=free, views=len(missing))
        for clip in outdated:
            clip.remove()
        if self._progress:
            logger.info("%s to %s: %s (free: %s)", _described(missing), self._folder, *map(bytes_text, (needed, free)))

    def _decode(self, stale: Sequence[ViewFrames]) -> None:
        cores = usable_cores()
        workers = min(len(stale), max(2, cores))
        stop = threading.Event()
        total = sum(frames.count for frames in stale)
        progress = Progress("Decoding frames", total=total, unit="frame", shown=self._progress)

        def step() -> None:
            if stop.is_set():
                raise SceneError("decoding stopped because another camera failed")
            progress.advance()

        def work(frames: ViewFrames) -> None:
            self._decode_view(frames, threads=max(1, cores // workers), step=step)

        with progress, ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            jobs = [pool.submit(work, frames) for frames in stale]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _decode_view(self, frames: ViewFrames, *, threads: int, step: Callable[[], None]) -> None:
        target = cache_file(frames, self._folder)
        partial = partial_file(target)
        record = make_record(frames, self._root)  # before decoding: a change meanwhile is seen by the next run
        make_size_folder(frames, self._folder)
        try:
            for left in partial_files(frames, self._folder):
                left.unlink()
            own_clip(frames, self._folder).remove()
            sums = write_frames(frames, partial, threads=threads, step=step)
            os.replace(partial, target)
        except OSError as error:
            raise SceneError(
                f"{partial}: {error.strerror or error}; free space or choose another cache folder"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        write_record(record | {SUMS: sums}, target)
        for clip in recorded_clips(frames, self._folder):
            if clip.file != target and frames.start <= clip.start and clip.end <= frames.start + frames.count:
                clip.remove()


def _described(missing: Sequence[ViewFrames]) -> str:
    sizes = list(dict.fromkeys(f"{frames.width}x{frames.height} px" for frames in missing))
    cameras, count = counted(len(missing), "camera"), counted(missing[0].count, "frame")
    return f"decoding {cameras}, {count}, {first_and_more(sizes)}"
