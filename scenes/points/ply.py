"""PLY tables: the element `vertex` of any PLY file, text or binary, as other programs write point clouds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from scenes.types import SceneError

MAX_HEADER_BYTES = 1 << 20
_END = re.compile(rb"end_header\r?\n")
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}


def read_ply_vertices(path: Path) -> np.ndarray:
    """Read the first element, which must be `vertex`, as a structured array with the file's column names.

    What follows the vertices (faces) is passed over. SceneError where the file is no PLY file, has other elements first
    or lists in its vertices, or is cut short; checked against the file's size before anything is allocated.
    """
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    end = _END.search(head)
    if not head.startswith(b"ply") or end is None:
        raise SceneError(f"{path}: not a PLY file (it starts with {head[:12]!r}); get the file again from its source")
    order, count, columns = _parse_header(path, head[: end.start()].decode("ascii", "replace"))
    dtype = np.dtype([(name, order + code) for name, code in columns])
    if order == "=":
        return _read_text(path, dtype, count, end.end())
    whole = (path.stat().st_size - end.end()) // dtype.itemsize
    if whole < count:
        raise SceneError(f"{path}: truncated: {whole} of {count} points are there; get the file again")
    return np.fromfile(path, dtype, count=count, offset=end.end())


def _parse_header(path: Path, header: str) -> tuple[str, int, list[tuple[str, str]]]:
    lines = [line.split() for line in header.splitlines()[1:]]
    lines = [line for line in lines if line and line[0] not in ("comment", "obj_info")]
    if len(lines) < 2 or lines[0][0] != "format" or lines[0][1] not in _ORDERS:
        stated = " ".join(lines[0]) if lines else "nothing"
        raise SceneError(f"{path}: its header says '{stated}', known are {', '.join(_ORDERS)}; save it as one of them")
    if lines[1][:2] != ["element", "vertex"] or len(lines[1]) != 3 or not lines[1][2].isdecimal():
        raise SceneError(f"{path}: begins with '{' '.join(lines[1])}', not 'element vertex <n>'; save points alone")
    columns = []
    for line in lines[2:]:
        if line[0] != "property":
            break
        if len(line) != 3 or line[1] not in _TYPES:
            raise SceneError(f"{path}: found '{' '.join(line)}' in the points, expected plain numbers; save it again")
        columns.append((line[2], _TYPES[line[1]]))
    if not columns or len({name for name, _ in columns}) < len(columns):
        raise SceneError(f"{path}: columns {', '.join(name for name, _ in columns) or 'none'}; damaged, get it again")
    return _ORDERS[lines[0][1]], int(lines[1][2]), columns


def _read_text(path: Path, dtype: np.dtype, count: int, offset: int) -> np.ndarray:
    with path.open("rb") as stream:
        stream.seek(offset)
        rows = [line.split() for line in stream if line.strip()][:count]
    try:
        if len(rows) < count or any(len(row) != len(dtype.names or ()) for row in rows):
            raise ValueError(f"{len(rows)} of {count} points")
        table = np.array([tuple(map(float, row)) for row in rows], [(name, "f8") for name in dtype.names or ()])
        return table.astype(dtype)
    except ValueError as error:
        raise SceneError(f"{path}: not the {count} rows that it promises ({error}); get the file again") from error
