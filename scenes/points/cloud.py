"""Coloured points in space, cleaned and thinned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from common.text.wording import counted
from scenes.types import SceneError

ENOUGH = 0.98  # of the limit: where the search for a voxel size ends
_CELLS = 2**20  # most voxels along an axis, so that three numbers of a voxel fit into one int64


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCloud:
    """Points that a training starts from, all finite, none twice."""

    positions: Tensor  # float32 [n, 3] world units of the scene's cameras
    colours: Tensor  # float32 [n, 3] RGB in 0 ... 1
    frames: Tensor | None  # float32 [n] frame at which each was found, 0 is the clip's start; None: not known
    note: str  # where they came from and what was done to them

    @property
    def count(self) -> int:
        return self.positions.shape[0]


def taken(cloud: PointCloud, rows: Tensor, note: str) -> PointCloud:
    """Take some of the points (indices or a mask), with one more remark in the note where it is not empty."""
    return replace(
        cloud,
        positions=cloud.positions[rows],
        colours=cloud.colours[rows],
        frames=None if cloud.frames is None else cloud.frames[rows],
        note=f"{cloud.note}; {note}" if note else cloud.note,
    )


def cleaned(cloud: PointCloud) -> PointCloud:
    """Drop points that are not finite and repetitions (same position, same frame); the others keep their order."""
    whole = cloud.positions.isfinite().all(1) & cloud.colours.isfinite().all(1)
    if cloud.frames is not None:
        whole &= cloud.frames.isfinite()
    lost = int((~whole).sum())
    if lost:
        cloud = taken(cloud, whole, f"dropped {counted(lost, 'point')} with values that are not finite")
    places = _places(cloud).numpy()
    order = np.lexsort(places.T)  # stable: of equal points the first stays first
    repeated = np.zeros(len(places), bool)
    repeated[order[1:]] = (places[order[1:]] == places[order[:-1]]).all(1)
    if repeated.any():
        cloud = taken(cloud, torch.from_numpy(~repeated), f"dropped {counted(int(repeated.sum()), 'repeated point')}")
    return cloud


def thinned(cloud: PointCloud, limit: int) -> PointCloud:
    """Thin a cloud evenly to at most `limit` points: of each cubic voxel (and frame) the one nearest to its centre.

    The voxel's size is the smallest that bisection finds to leave so few. SceneError where the limit is below one point
    a frame.
    """
    if cloud.count <= limit:
        return cloud
    moments = 1 if cloud.frames is None else len(cloud.frames.unique())
    if limit < moments:
        raise SceneError(
            f"at most {limit} start points asked for, of {counted(moments, 'frame')}; allow at least one per frame"
        )
    positions = cloud.positions.double().numpy()
    positions = positions - positions.min(axis=0)
    rows = _rows_of_moments(cloud)
    largest = 1.001 * float(positions.max())  # one voxel holds all
    smallest, size, left = largest / _CELLS, largest, moments
    while left < ENOUGH * limit and size / smallest > 1.001:
        middle = (smallest * size) ** 0.5
        voxels = _voxels(positions, middle)
        occupied = sum(len(np.unique(voxels[part])) for part in rows)
        if occupied > limit:
            smallest = middle
        else:
            size, left = middle, occupied
    kept = np.sort(np.concatenate([part[_one_a_voxel(positions[part], size)] for part in rows]))
    note = f"thinned from {cloud.count:,} to {counted(len(kept), 'point')}, one per voxel of {size:.3g} scene units"
    return taken(cloud, torch.from_numpy(kept), note)


def _places(cloud: PointCloud) -> Tensor:
    """Position and frame of every point [n, 3 or 4]."""
    return cloud.positions if cloud.frames is None else torch.cat([cloud.positions, cloud.frames[:, None]], dim=1)


def _rows_of_moments(cloud: PointCloud) -> list[np.ndarray]:
    """Indices of the points of each frame."""
    if cloud.frames is None:
        return [np.arange(cloud.count)]
    frames = cloud.frames.numpy()
    order = np.argsort(frames, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(frames[order])) + 1)


def _voxels(positions: np.ndarray, size: float) -> np.ndarray:
    """Number of the voxel of every point [n] int64; positions [n, 3] are not negative."""
    x, y, z = np.floor(positions / size).astype(np.int64).T
    return (x * _CELLS + y) * _CELLS + z


def _one_a_voxel(positions: np.ndarray, size: float) -> np.ndarray:
    """Indices of the point nearest to the centre of each voxel; the first of equally near ones."""
    voxels = _voxels(positions, size)
    from_centre = np.square(positions / size % 1 - 0.5).sum(axis=1)
    order = np.lexsort((from_centre, voxels))
    return order[np.diff(voxels[order], prepend=-1) > 0]
