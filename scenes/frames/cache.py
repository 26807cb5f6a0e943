"""Frames of all views, decoded once at the training resolution and kept on disk."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from common.locks import folder_lock
from common.progress import Progress
from common.units import GIGABYTE
from common.wording import counted
from scenes.frames.cache_record import ViewFrames, cache_file, is_current, record_file, write_view_record
from scenes.frames.resize import resized
from scenes.frames.sources import decode
from scenes.types import SceneError


class FrameCache:
    """Frame store on `<folder>/<view>.npy` (uint8 [frames, h, w, 3]), each with its record in `<view>.json`.

    A file whose record matches is used as it is; others are decoded again, each written under a temporary name and
    renamed, so that an interrupted run loses only unfinished views. Safe to read from several threads.
    """

    def __init__(self, folder: Path, views: Sequence[ViewFrames], *, root: Path, progress: bool) -> None:
        self._folder = folder
        self._views = tuple(views)
        self._root = root
        self._progress = progress
        self._arrays: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def prepare(self, views: Iterable[int]) -> None:
        """Make sure that views are on disk; SceneError where a source is damaged or the disk too full."""
        with self._lock:
            wanted = [view for view in views if view not in self._arrays]
            if not wanted:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            with folder_lock(self._folder):
                stale = [self._views[i] for i in wanted if not is_current(self._views[i], self._root, self._folder)]
                if stale:
                    self._check_space(stale)
                    self._decode(stale)
            for view in wanted:
                self._arrays[view] = np.load(cache_file(self._folder, self._views[view].name), mmap_mode="r")

    def read(self, view: int, frame: int) -> np.ndarray:
        """Read uint8 [h, w, 3] RGB, the caller's own copy; decodes the view first where that has not happened yet."""
        if not 0 <= frame < self._views[view].count:
            raise IndexError(
                f"frame {frame} of {self._views[view].name}: the clip has {counted(self._views[view].count, 'frame')}"
            )
        if view not in self._arrays:
            self.prepare([view])
        return np.array(self._arrays[view][frame])

    def _check_space(self, stale: Sequence[ViewFrames]) -> None:
        needed = sum(frames.bytes for frames in stale)
        replaced = [cache_file(self._folder, frames.name) for frames in stale]
        freed = sum(path.stat().st_size for path in replaced if path.exists())
        free = shutil.disk_usage(self._folder).free + freed
        if needed > free:
            raise SceneError(
                f"{self._folder}: {needed / GIGABYTE:.1f} GB needed for the frames of {counted(len(stale), 'camera')}, "
                f"{free / GIGABYTE:.1f} GB free; choose another cache folder, a lower resolution or a shorter clip"
            )

    def _decode(self, stale: Sequence[ViewFrames]) -> None:
        cores = os.cpu_count() or 1
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
        target = cache_file(self._folder, frames.name)
        partial = target.with_name(target.name + ".partial")
        record_file(self._folder, frames.name).unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        header = {"descr": "|u1", "fortran_order": False, "shape": frames.shape}
        try:
            # A plain file, not a memory map: a disk that fills up then raises an error instead of killing the process.
            with open(partial, "wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for image in decode(frames.source, frames.start, frames.count, threads=threads):
                    file.write(resized(image, frames.width, frames.height, frames.resize).tobytes())
                    step()
            os.replace(partial, target)
        except OSError as error:
            raise SceneError(
                f"{partial}: {error.strerror or error}; free space or choose another cache folder"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        write_view_record(frames, self._root, self._folder)
