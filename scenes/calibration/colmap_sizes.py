"""COLMAP's binary files, walked by their counts before pycolmap reads them, which waits or asks for memory by these."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from scenes.types import SceneError

_NUMBERS = {0: 3, 1: 4, 2: 4, 3: 5, 4: 8, 5: 8, 6: 12, 7: 5, 8: 4, 9: 5, 10: 12}  # of a lens, by COLMAP's model number


def check_binary(path: Path) -> None:
    """Raise SceneError where cameras.bin, images.bin, rigs.bin or frames.bin claims more than its bytes hold.

    Layout: COLMAP's documentation, "Binary File Format".
    """
    data = path.read_bytes()
    try:
        (count,), place = struct.unpack_from("<Q", data), 8
        if count > len(data):
            raise struct.error
        for _ in range(count):
            place = _AFTER[path.stem](data, place)
            if place > len(data):
                raise struct.error
    except (struct.error, ValueError):
        raise SceneError(
            f"{path}: {len(data)} bytes do not hold what its counts claim; damaged, run COLMAP again"
        ) from None


def _after_camera(data: bytes, place: int) -> int:
    _, model, _, _ = struct.unpack_from("<IiQQ", data, place)
    if model not in _NUMBERS:  # newer than the table: the size of one lens is not known
        return place + 24
    return place + 24 + 8 * _NUMBERS[model]


def _after_image(data: bytes, place: int) -> int:
    end = data.index(b"\0", place + 64) + 1  # of the name, after two numbers and the pose
    (points,) = struct.unpack_from("<Q", data, end)
    return end + 8 + 24 * int(points)


def _after_rig(data: bytes, place: int) -> int:
    _, sensors = struct.unpack_from("<II", data, place)
    place += 8 + (8 if sensors else 0)
    for _ in range(sensors - 1):
        (_, _, is_posed) = struct.unpack_from("<iIB", data, place)
        place += 9 + (56 if is_posed else 0)
    return place


def _after_frame(data: bytes, place: int) -> int:
    (sensors,) = struct.unpack_from("<I", data, place + 64)
    return place + 68 + 16 * int(sensors)


_AFTER: dict[str, Callable[[bytes, int], int]] = {
    "cameras": _after_camera,
    "images": _after_image,
    "rigs": _after_rig,
    "frames": _after_frame,
}
