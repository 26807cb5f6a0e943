"""Numpy files of strangers: what a header claims is compared with the file's size before memory is asked for."""

from __future__ import annotations

import ast
import math
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from common.disk.contained import regular

_MAGIC = b"\x93NUMPY"
_GROWTH, _SMALL = 4, 1 << 30  # an archive may grow to 4 times its bytes and 1 GiB


def read_array(path: Path) -> np.ndarray:
    """Read a .npy file without running anything in it; ValueError or OSError where it is none, or is cut short."""
    with regular(path).open("rb") as stream:
        _check_header(stream, path.stat().st_size, path.name)
    array: np.ndarray = np.load(path, allow_pickle=False)
    return array


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a .npz file; ValueError, OSError or BadZipFile where it is none, or would grow without bound.

    Check sums are compared.
    """
    with zipfile.ZipFile(regular(path)) as archive:
        records, bound = archive.infolist(), _GROWTH * path.stat().st_size + _SMALL
        if sum(record.file_size for record in records) > bound:
            raise ValueError(f"its arrays take more than {bound} bytes, the file has {path.stat().st_size}")
        for record in records:
            with archive.open(record) as stream:
                _check_header(stream, record.file_size, record.filename)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _check_header(stream: BinaryIO | Any, size: int, name: str) -> None:
    """Raise ValueError where an array's header claims more bytes than follow it."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise ValueError(f"{name} is no numpy array")
    version = tuple(stream.read(2))
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > size:
        raise ValueError(f"the header of {name} is longer than the file")
    shape: tuple[int, ...] = ()
    itemsize = 0
    with suppress(SyntaxError):  # of the literal
        shape, itemsize = _claimed(stream.read(length))
    start = len(_MAGIC) + 2 + width + length
    if itemsize == 0 or start + math.prod(shape) * itemsize > size:
        raise ValueError(f"{name} claims an array {list(shape)} of {itemsize} bytes each, {size - start} bytes follow")


def _claimed(header: bytes) -> tuple[tuple[int, ...], int]:
    """Shape and bytes of an element as a header has them."""
    facts = ast.literal_eval(header.decode("latin1").strip())
    shape = facts["shape"]
    if not isinstance(shape, tuple) or any(not isinstance(size, int) or size < 0 for size in shape):
        raise ValueError(f"shape {shape!r}")
    return shape, np.dtype(facts["descr"]).itemsize
