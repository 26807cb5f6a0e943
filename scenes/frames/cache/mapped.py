"""Frames of a view in a mapped cache file, each compared with its check sum when it is first read."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scenes.frames.cache.record import CachedClip, ViewFrames, recorded_sums


class MappedFrames:
    """Frames of one view in a cache file. Safe to read from several threads.

    A file of an earlier version has no check sums: its frames are taken as they are.
    """

    def __init__(self, file: Path, pixels: np.ndarray, sums: Sequence[int]) -> None:
        self.file = file
        self._pixels = pixels  # mapped, uint8 [frames, h, w, 3]
        self._sums = sums
        self._compared: set[int] = set()

    def read(self, frame: int) -> np.ndarray | None:
        """Read uint8 [h, w, 3] RGB, the caller's own copy; None where it is not what was written."""
        pixels = np.array(self._pixels[frame], order="C")
        _forget_pages(self._pixels)
        if self._sums and frame not in self._compared:
            if zlib.crc32(pixels.data) != self._sums[frame]:
                return None
            self._compared.add(frame)
        return pixels


def mapped_frames(clip: CachedClip, frames: ViewFrames) -> MappedFrames:
    """Map the frames of a view in a clip that holds them."""
    array: np.ndarray = np.load(clip.file, mmap_mode="r", allow_pickle=False)
    first = frames.start - clip.start
    chosen = slice(first, first + frames.count)
    return MappedFrames(clip.file, array[chosen], recorded_sums(clip.file)[chosen])


def _forget_pages(array: np.ndarray) -> None:
    """Let a process no longer count pages of a mapped file as its memory: they would grow with the clip.

    They stay in the system's cache of files.
    """
    mapped = array
    while isinstance(mapped, np.ndarray) and mapped.base is not None:
        mapped = mapped.base
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)
