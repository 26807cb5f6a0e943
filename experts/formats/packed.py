"""Packed tables: columns rounded to steps, then entropy-coded; read in the place of the PLY files they are made of."""

from __future__ import annotations

import json
import lzma
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.disk.files import replacing
from experts.base import CheckpointError

FAMILY, VERSION = b"moegs packed table ", 2
MAGIC = FAMILY + b"%d\n" % VERSION
MOST_HEADER = 1 << 20  # bytes
MOST_ROWS = 100_000_000
MOST_EXPANSION = 1000  # of a table over its file
MEMORY = 1 << 28  # bytes that the decoder may take
PRESET = 6  # of LZMA: higher ones gain nothing at ten times the time
_LENGTH, _CHECK = 4, 4  # bytes of the header's length and of its CRC-32; the coded columns have their own
FAR = 0.01  # share of a column's values, at each end, of which the spread counts no more than that they are there
# Steps by the names of columns: of a value itself, or of its column's spread. The first that fits holds.
STEPS: tuple[tuple[re.Pattern[str], float, bool], ...] = (
    (re.compile(r"f_rest_\d+|.*_f_rest_\d+"), 0.01, False),  # colours: 1 is white
    (re.compile(r"f_dc_\d+|.*_f_dc_\d+"), 0.004, False),
    (re.compile(r"(motion_)?opacity"), 0.02, False),  # logits
    (re.compile(r"(motion_)?scale_\d+"), 0.01, False),  # logarithms
    (re.compile(r"embedding_\d+"), 0.01, True),
    (re.compile(r"(motion_)?rot_\d+.*|omega_\d+"), 0.002, True),
    (re.compile(r".*"), 2e-5, True),  # positions, motion, times
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """value = low + step x whole number of so many bytes; step None: the bytes of a float32."""

    bytes: int
    low: float
    step: float | None


def is_packed(path: Path) -> bool:
    """True for a file that begins as a packed table of any version does."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(FAMILY)) == FAMILY


def write_packed(path: Path, names: Sequence[str], matrix: np.ndarray, *, comments: Sequence[str] = ()) -> bool:
    """Write a float32 table [n, len(names)] packed; False, and no file, where readers would refuse how small it is."""
    columns = [_column(name, matrix[:, index]) for index, name in enumerate(names)]
    planes = [plane for index, column in enumerate(columns) for plane in _planes(matrix[:, index], column)]
    payload = lzma.compress(np.concatenate(planes).tobytes() if planes else b"", preset=PRESET)
    facts = {
        "rows": len(matrix),
        "names": list(names),
        "comments": list(comments),
        "columns": [[column.bytes, column.low, column.step] for column in columns],
    }
    header = json.dumps(facts, separators=(",", ":")).encode("ascii")
    size = len(MAGIC) + _LENGTH + _CHECK + len(header) + len(payload)
    if len(header) > MOST_HEADER or 4 * matrix.size > MOST_EXPANSION * size:
        return False
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(MAGIC + len(header).to_bytes(_LENGTH, "little") + _check(header) + header + payload)
    return True


def read_packed(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of columns and the float32 matrix [n, columns] of a packed table.

    All sizes are checked against the file's before anything is allocated. Raises CheckpointError for a damaged file.
    """
    facts, offset = _header(path)
    names, columns, rows = _checked(path, facts)
    size = path.stat().st_size
    if 4 * rows * len(names) > MOST_EXPANSION * size:
        raise CheckpointError(
            f"{path}: {rows} rows of {len(names)} columns in {size} bytes are more than the {MOST_EXPANSION} times "
            "that a packed table may grow; the file is damaged, get it again"
        )
    data = _decoded(path, offset, rows * sum(column.bytes for column in columns))
    matrix = np.empty((rows, len(names)), dtype=np.float32)
    start = 0
    for index, column in enumerate(columns):
        end = start + rows * column.bytes
        with np.errstate(over="ignore"):  # readers refuse infinite values
            matrix[:, index] = _values(data[start:end].reshape(column.bytes, rows), column)
        start = end
    return names, matrix


def packed_names(path: Path) -> tuple[str, ...]:
    """Names of a packed table's columns; raises CheckpointError for a damaged header."""
    return _checked(path, _header(path)[0])[0]


def packed_comments(path: Path) -> tuple[str, ...]:
    """Comments of a packed table; raises CheckpointError for a damaged header."""
    comments = _header(path)[0].get("comments", [])
    if not _are_texts(comments):
        raise _damaged(path, "its comments are no texts")
    return tuple(comments)


def _column(name: str, values: np.ndarray) -> _Column:
    """How a column is stored: as float32 where it is not finite, or too wide for its step."""
    raw = _Column(bytes=4, low=0.0, step=None)
    if not len(values) or not np.isfinite(values).all():
        return raw
    exact = values.astype(np.float64)
    low, high = float(exact.min()), float(exact.max())
    if low == high:
        return _Column(bytes=0, low=low, step=0.0)
    size, relative = next((size, relative) for pattern, size, relative in STEPS if pattern.fullmatch(name))
    step = size * _spread(exact) if relative else size
    levels = (high - low) / step if step > 0 else math.inf
    if not levels < 2**31:
        return raw
    return _Column(bytes=max(1, math.ceil(math.log2(levels + 2) / 8)), low=low, step=step)


def _spread(values: np.ndarray) -> float:
    """Standard deviation of values [n] whose ends are drawn in, so that a few far ones do not widen all steps.

    A column that is too wide for its step then keeps its bits: near values and far ones come back.
    """
    far = min(math.ceil(FAR * len(values)), (len(values) - 1) // 2)
    places = (far, len(values) - 1 - far)
    low, high = np.partition(values, places)[list(places)]
    return float(values.clip(low, high).std())


def _planes(values: np.ndarray, column: _Column) -> list[np.ndarray]:
    """Bytes [n] of all values, the highest byte first: those that hardly change stand together."""
    if column.step is None:
        whole = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    elif column.bytes == 0:
        return []
    else:
        whole = np.rint((values.astype(np.float64) - column.low) / column.step).astype("<u4")
    return [((whole >> (8 * place)) & 0xFF).astype(np.uint8) for place in reversed(range(column.bytes))]


def _values(planes: np.ndarray, column: _Column) -> np.ndarray:
    """Values [n] of a column's bytes [bytes, n]."""
    whole = np.zeros(planes.shape[1], dtype="<u4")
    for plane in planes:
        whole = (whole << 8) | plane
    if column.step is None:
        return whole.astype("<u4").view("<f4")
    return column.low + column.step * whole.astype(np.float64)


def _header(path: Path) -> tuple[Mapping[str, Any], int]:
    """The header, and where in the file the coded bytes begin."""
    with path.open("rb") as stream:
        found = stream.read(len(MAGIC))
        if found != MAGIC:
            version = found.removeprefix(FAMILY).split(b"\n")[0].decode("ascii", "replace")
            raise CheckpointError(
                f"{path}: a packed table of version {version!r}, this version reads {VERSION}; pack the run again "
                "(moegs.py prune --compress), or use the version that it is from"
            )
        length = int.from_bytes(stream.read(_LENGTH), "little")
        if length > MOST_HEADER:
            raise _damaged(path, f"its header says that it has {length} bytes")
        check, text = stream.read(_CHECK), stream.read(length)
    if check != _check(text):
        raise _damaged(path, "its header is not the one that was written")
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"its header is no JSON: {error}") from error
    if not isinstance(facts, dict) or len(text) != length:
        raise _damaged(path, "its header is no table")
    return facts, len(MAGIC) + _LENGTH + _CHECK + length


def _check(header: bytes) -> bytes:
    return zlib.crc32(header).to_bytes(_CHECK, "little")


def _checked(path: Path, facts: Mapping[str, Any]) -> tuple[tuple[str, ...], list[_Column], int]:
    rows, names, columns = facts.get("rows"), facts.get("names"), facts.get("columns")
    if not isinstance(rows, int) or isinstance(rows, bool) or not 0 <= rows <= MOST_ROWS:
        raise _damaged(path, f"it says that it has {rows!r} rows")
    if not _are_texts(names) or not names or len(set(names)) < len(names):
        raise _damaged(path, "its columns have no names, or the same")
    if not isinstance(columns, list) or len(columns) != len(names) or not all(map(_is_column, columns)):
        raise _damaged(path, "its columns are not told as bytes, lowest value and step")
    return tuple(names), [_Column(bytes=size, low=low, step=step) for size, low, step in columns], rows


def _is_column(value: object) -> bool:
    """True for [bytes, low, step] as `write_packed` writes it."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    size, low, step = value
    numbers = [low] if step is None else [low, step]
    fits = isinstance(size, int) and (size == 4 if step is None else 0 <= size <= 4)
    return fits and all(isinstance(each, int | float) and math.isfinite(each) for each in numbers)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _decoded(path: Path, offset: int, size: int) -> np.ndarray:
    """The coded bytes, as many as wanted and not one more."""
    with path.open("rb") as stream:
        stream.seek(offset)
        coded = stream.read()
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MEMORY)
    try:
        data = decoder.decompress(coded, max_length=size + 1)
    except lzma.LZMAError as error:
        raise _damaged(path, f"its columns cannot be decoded: {error}") from error
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise _damaged(path, f"its columns are not the {size} bytes that its header says")
    return np.frombuffer(data, dtype=np.uint8)


def _damaged(path: Path, fault: str) -> CheckpointError:
    return CheckpointError(f"{path}: a packed table that is damaged: {fault}; get the file again from its source")
