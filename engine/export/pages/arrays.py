"""Arrays of integers as bytes, which deflate well; engine/player/data.js reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# By name, the values of a row that are told together; all other arrays have one.
WIDE = {"cells": 3, "begins": 3, "hops": 3, "bends": 3, "quats": 4, "scales": 3, "colours": 3, "routing": 3}
_STORED = {"u1": "u1", "u2": "u2", "u4": "u4", "z1": "u1", "z2": "u2", "z4": "u4", "f2": "f2"}


def array_bytes(arrays: Mapping[str, np.ndarray]) -> tuple[list[dict[str, Any]], bytes]:
    """The bytes of arrays one after the other, and a table with their names, types and lengths."""
    table, parts = [], []
    for name, values in arrays.items():
        kind, coded = _bytes(values)
        table.append({"name": name, "type": kind, "length": int(values.size)})
        parts.append(coded)
    return table, b"".join(parts)


def read_arrays(table: Sequence[Mapping[str, Any]], body: bytes) -> dict[str, np.ndarray]:
    """The arrays that `array_bytes` wrote, by name, in rows."""
    arrays, start = {}, 0
    for row in table:
        kind = np.dtype(f"<{_STORED[row['type']]}")
        size = row["length"] * kind.itemsize
        planes = np.frombuffer(body[start : start + size], np.uint8).reshape(kind.itemsize, row["length"])
        values = _values(np.ascontiguousarray(planes.T).view(kind)[:, 0], row["type"])
        arrays[row["name"]] = values.reshape(-1, WIDE[row["name"]]) if row["name"] in WIDE else values
        start += size
    return arrays


def _bytes(values: np.ndarray) -> tuple[str, bytes]:
    """The type of an array and its bytes, all lowest ones first: those of one kind resemble each other.

    Integers have the narrowest type that holds them. Those that may be negative are told as 0, -1, 1, -2, 2 …: z.
    """
    flat, letter = np.ascontiguousarray(values).reshape(-1), "f"
    if flat.dtype.kind != "f":
        letter = "z" if flat.size and flat.min() < 0 else "u"
        flat = flat.astype(np.int64)
        flat = (flat << 1) ^ (flat >> 63) if letter == "z" else flat
        flat = flat.astype(np.min_scalar_type(int(flat.max()) if flat.size else 0).newbyteorder("<"))
    planes = flat.reshape(-1, 1).view(np.uint8).reshape(flat.size, flat.itemsize)
    return f"{letter}{flat.itemsize}", np.ascontiguousarray(planes.T).tobytes()


def _values(stored: np.ndarray, kind: str) -> np.ndarray:
    if kind[0] == "f":
        return stored
    whole = stored.astype(np.int64)
    return (whole >> 1) ^ -(whole & 1) if kind[0] == "z" else whole
