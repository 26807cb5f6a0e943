"""Point clouds of COLMAP models in the files that the experts start from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from common.disk.files import replacing
from common.maths.tensors import quantised
from scenes.points.cloud import PointCloud, cleaned, thinned
from scenes.points.files import MODEL_POINTS, StoredPoints, read_points
from scenes.types import SceneError

LIMITS = {  # most points of each file, as in the trainings that read it
    "points3D.ply": None,  # Ex4DGS's and 3DGS's
    "points3D_downsample.ply": 100_000,  # E-D3DGS's
    "points3D_downsample2.ply": 40_000,  # 4DGaussians'
}
FRAME_OF_FOLDER = re.compile(r"colmap_(\d+)")


def write_clouds(models: Sequence[Path], scene: Path) -> dict[str, int]:
    """Write the three PLY files of one or several COLMAP models (`colmap_<frame>/sparse/0`); returns their counts.

    Columns x y z nx ny nz (float, normals 0) and red green blue (uchar), binary; of several models all points, with
    their frame's number in one more column, `frame` (float). World units of the models. Thinned ones keep of each
    voxel (and frame) the point nearest to its centre. SceneError where a model has no points or no number.
    """
    cloud = cleaned(_union(models))
    counts = {}
    for name, limit in LIMITS.items():
        chosen = cloud if limit is None else thinned(cloud, limit)
        _write_ply(scene / name, chosen)
        counts[name] = chosen.count
    return counts


def _union(models: Sequence[Path]) -> PointCloud:
    if not models:
        raise SceneError("no COLMAP models given to make point clouds of; give one at least")
    stored = [_points_of(model) for model in models]
    frames = None
    if len(models) > 1:
        numbers = np.array([_frame_of(model) for model in models], np.float32)
        frames = torch.from_numpy(np.repeat(numbers, [len(points.positions) for points in stored]))
    return PointCloud(
        positions=torch.from_numpy(np.concatenate([points.positions for points in stored])),
        colours=torch.from_numpy(np.concatenate([points.colours for points in stored])),
        frames=frames,
        note=f"points of {len(models)} COLMAP models",
    )


def _points_of(model: Path) -> StoredPoints:
    path = next((model / name for name in MODEL_POINTS if (model / name).is_file()), None)
    if path is None:
        raise SceneError(f"{model}: holds no points3D.bin; reconstruct this frame first")
    points = read_points(path)
    if len(points.positions) == 0:
        raise SceneError(f"{path}: holds no points; reconstruct this frame again")
    return points


def _frame_of(model: Path) -> int:
    named = FRAME_OF_FOLDER.fullmatch(model.parent.parent.name)
    if named is None:
        raise SceneError(f"{model}: of several models each must lie in colmap_<frame>/sparse/0; rename the folder")
    return int(named[1])


def _write_ply(path: Path, cloud: PointCloud) -> None:
    floats = ["x", "y", "z", "nx", "ny", "nz"]
    colours = ["red", "green", "blue"]
    dtype = [(name, "<f4") for name in floats] + [(name, "u1") for name in colours]
    if cloud.frames is not None:
        dtype.append(("frame", "<f4"))
    table = np.zeros(cloud.count, dtype)
    for axis in range(3):
        table[floats[axis]] = cloud.positions[:, axis].numpy()
        table[colours[axis]] = quantised(cloud.colours[:, axis]).numpy()
    if cloud.frames is not None:
        table["frame"] = cloud.frames.numpy()
    types = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {cloud.count}"]
    header += [f"property {types[kind]} {name}" for name, kind in dtype]
    with replacing(path) as temporary:
        temporary.write_bytes("\n".join([*header, "end_header\n"]).encode() + table.tobytes())
