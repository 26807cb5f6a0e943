"""Files of coloured points: PLY, numpy archives, and the points of COLMAP models."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from common.disk.arrays import read_arrays
from common.disk.contained import read_text
from common.disk.faults import reading
from common.maths.tensors import from_uint8
from scenes.points.ply import read_ply_vertices
from scenes.types import SceneError

MODEL_POINTS = ("points3D.bin", "points3D.txt")  # COLMAP's, in the order they are looked for
_COLOUR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_FRACTIONS = ("t", "time")
_COLMAP_POINT = struct.Struct("<Q3d3BdQ")  # id, position, colour, error, length of the track


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPoints:
    """Points as a file has them."""

    positions: np.ndarray  # float32 [n, 3]
    colours: np.ndarray  # float32 [n, 3] in 0 ... 1
    frames: np.ndarray | None = None  # float32 [n], numbers as in the footage's files
    fractions: np.ndarray | None = None  # float32 [n], instead of frames: of the clip, 0 is its start and 1 its end


def read_points(path: Path) -> StoredPoints:
    """Read the points of a .ply, .npz, .bin or .txt (COLMAP's points3D) file.

    PLY: columns x y z and red green blue (whole numbers up to the type's largest, or floats in 0 ... 1), and perhaps
    `frame` (number as in the footage's files), `t` or `time` (fraction of the clip). Numpy archive: xyz [n, 3], rgb
    [n, 3], perhaps frame [n]; or tracks [n, frames, 3], colours [n, 3] and present [n, frames]. SceneError where it is
    missing, unreadable, or lacks a column.
    """
    if not path.is_file():
        raise SceneError(f"{path}: no such file; give the .ply or .npz file of the start points")
    if path.suffix.lower() not in READERS:
        raise SceneError(f"{path}: {path.suffix or 'no ending'} is no point cloud; use one of {', '.join(READERS)}")
    with reading(path, "not a readable point cloud", SceneError, advice="get the file again"):
        return READERS[path.suffix.lower()](path)


def _read_ply(path: Path) -> StoredPoints:
    rows = read_ply_vertices(path)
    names = rows.dtype.names or ()
    columns = {name: rows[name] for name in names}
    colour = next((group for group in _COLOUR_NAMES if set(group) <= set(names)), None)
    if not {"x", "y", "z"} <= set(names) or colour is None:
        hint = "this is a trained model, not a point cloud" if "f_dc_0" in names else "save positions and colours"
        raise SceneError(f"{path}: columns {', '.join(names[:12])}, expected x y z and red green blue; {hint}")
    fraction = next((name for name in _FRACTIONS if name in names), None)
    return StoredPoints(
        positions=_stack(columns, ("x", "y", "z")),
        colours=np.stack([_unit(path, columns[name]) for name in colour], axis=1),
        frames=columns["frame"].astype(np.float32) if "frame" in names else None,
        fractions=columns[fraction].astype(np.float32) if fraction and "frame" not in names else None,
    )


def _read_npz(path: Path) -> StoredPoints:
    arrays = read_arrays(path)
    if "tracks" in arrays:
        return _from_tracks(arrays["tracks"], arrays["colours"], arrays["present"])
    if not {"xyz", "rgb"} <= set(arrays):
        raise SceneError(f"{path}: arrays {', '.join(arrays) or 'none'}, expected xyz and rgb, or tracks")
    positions, colours = arrays["xyz"], _unit(path, arrays["rgb"])
    frames = arrays["frame"].astype(np.float32) if "frame" in arrays else None
    count = len(positions)
    if positions.shape != (count, 3) or colours.shape != (count, 3) or (frames is not None and len(frames) != count):
        raise SceneError(f"{path}: xyz {positions.shape} and rgb {colours.shape} are not [n, 3] each; save them again")
    return StoredPoints(positions=positions.astype(np.float32), colours=colours, frames=frames)


def _from_tracks(tracks: np.ndarray, colours: np.ndarray, present: np.ndarray) -> StoredPoints:
    frames, points = np.nonzero(present.T)
    return StoredPoints(
        positions=tracks[points, frames].astype(np.float32),
        colours=colours[points].astype(np.float32),
        frames=frames.astype(np.float32),
    )


def _read_points3d_bin(path: Path) -> StoredPoints:
    # pycolmap refuses models whose images lost their 2D points, as published ones do, so their tracks are passed over.
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    if 8 + count * _COLMAP_POINT.size > len(data):
        raise SceneError(f"{path}: {len(data)} bytes cannot hold {count} points; damaged, run COLMAP again")
    rows, place = np.empty((count, 6)), 8
    for row in rows:
        _, *values, _, track = _COLMAP_POINT.unpack_from(data, place)
        row[:] = values
        place += _COLMAP_POINT.size + 8 * track
    if place != len(data):
        raise SceneError(f"{path}: {len(data)} bytes, its {count} points take {place}; damaged, run COLMAP again")
    return _from_table(rows)


def _read_points3d_txt(path: Path) -> StoredPoints:
    lines = [line.split() for line in read_text(path).splitlines() if not line.startswith("#")]
    rows = [list(map(float, line[1:7])) for line in lines if line]
    return _from_table(np.array(rows, np.float64).reshape(-1, 6))


def _from_table(rows: np.ndarray) -> StoredPoints:
    """Points of COLMAP's rows [n, 6]: positions, then whole numbers in 0 ... 255."""
    return StoredPoints(
        positions=rows[:, :3].astype(np.float32), colours=from_uint8(torch.from_numpy(rows[:, 3:])).numpy()
    )


def _stack(columns: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    return np.stack([columns[name].astype(np.float32) for name in names], axis=1)


def _unit(path: Path, colours: np.ndarray) -> np.ndarray:
    """Colours as float32 in 0 ... 1; SceneError where floats lie outside."""
    if np.issubdtype(colours.dtype, np.integer):
        return (colours / np.float32(np.iinfo(colours.dtype).max)).astype(np.float32)
    known = colours[np.isfinite(colours)]
    if known.size and (known.min() < 0 or known.max() > 1):
        raise SceneError(
            f"{path}: colours from {known.min():g} to {known.max():g}, floats must lie in 0 ... 1; "
            "divide them, or save whole numbers (uchar)"
        )
    return colours.astype(np.float32)


READERS: dict[str, Callable[[Path], StoredPoints]] = {
    ".ply": _read_ply,
    ".npz": _read_npz,
    ".bin": _read_points3d_bin,
    ".txt": _read_points3d_txt,
}
