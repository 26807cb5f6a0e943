"""Frames of a view decoded into a file of a frame cache."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.disk.contained import OutsideError, own_folder
from common.text.units import GIGABYTE
from common.text.wording import counted
from scenes.frames.cache.record import ViewFrames, cache_file
from scenes.frames.resize import resized
from scenes.frames.sources import decode
from scenes.types import SceneError


def write_frames(
    frames: ViewFrames, path: Path, *, threads: int, mode: Literal["xb", "r+b"] = "xb", step: Callable[[], None]
) -> list[int]:
    """Decode frames to a file [frames, h, w, 3] of NumPy's; returns the check sum of each.

    mode: "xb" for a new file, "r+b" for one that is there. step: called after each frame. SceneError where a source is
    damaged or the disk full.
    """
    sums: list[int] = []
    try:
        # A plain file, not a memory map: a disk that fills up then raises an error instead of killing the process.
        with open(path, mode) as file:  # a link or pipe that takes the name of a new one meanwhile is not followed
            np.lib.format.write_array_header_1_0(file, _header(frames))
            for image in decode(frames.source, frames.start, frames.count, threads=threads):
                pixels = resized(image, frames.width, frames.height, frames.resize).tobytes()
                sums.append(zlib.crc32(pixels))
                file.write(pixels)
                step()
    except OSError as error:
        if error.filename in map(str, frames.source.files(frames.start, frames.count)):
            raise SceneError(f"{error.filename}: {error.strerror}; put the file back, or wait for its disk") from error
        raise SceneError(f"{path}: {error.strerror or error}; free space or choose another cache folder") from error
    return sums


def make_size_folder(frames: ViewFrames, folder: Path) -> None:
    """Make the folder of a view's size below a cache's; SceneError where it lies elsewhere or cannot be made."""
    target = cache_file(frames, folder)
    try:
        own_folder(folder, target.parent.name).mkdir(exist_ok=True)
    except OutsideError as error:
        raise SceneError(str(error)) from error
    except OSError as error:
        raise SceneError(
            f"{target.parent}: {error.strerror or error}; free space or choose another cache folder"
        ) from error


def make_cache_folder(folder: Path) -> None:
    """Make a cache's folder; SceneError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SceneError(
            f"{folder}: cannot be made ({error.strerror}); choose another cache folder with --cache_path"
        ) from error


def disk_too_full(folder: Path, *, needed: int, free: int, views: int) -> SceneError:
    """Make the error that a disk has no room for the frames of some cameras."""
    return SceneError(
        f"{folder}: {needed / GIGABYTE:.1f} GB needed for the frames of {counted(views, 'camera')}, "
        f"{free / GIGABYTE:.1f} GB free; choose another cache folder, a lower resolution or a shorter clip"
    )


def header_bytes(frames: ViewFrames) -> int:
    """Count the bytes of a file of frames before their pixels."""
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, _header(frames))
    return file.tell()


def _header(frames: ViewFrames) -> dict[str, Any]:
    return {"descr": "|u1", "fortran_order": False, "shape": frames.shape}
