"""Start points of a training: from the first of a list of sources that the scene has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from common.text.wording import counted
from scenes.points.cloud import PointCloud, cleaned, taken, thinned
from scenes.points.files import MODEL_POINTS, StoredPoints, read_points
from scenes.points.random import random_points
from scenes.points.visibility import views_of
from scenes.types import Scene, SceneError

RandomPoints = Literal["random"]  # in the place of a file's path
RANDOM_POINTS = 100_000  # where no limit is given
CLOUDS = (  # below the scene's folder, in the order they are looked for
    "points3D_downsample2.ply",  # 4DGaussians'
    "points3D_downsample.ply",  # E-D3DGS's
    "points3D.ply",
    "colmap_{start}/sparse/0/points3D.ply",  # Ex4DGS's
    *(f"sparse/0/{name}" for name in ("points3D.ply", *MODEL_POINTS)),  # of a COLMAP model beside the images
    "known_points.npz",  # the demo scene's
)
FEW_SEEN = 0.5  # share of points in some image below which another world frame is suspected


def load_start_points(
    scene: Scene, *, source: Path | RandomPoints | None, frames: Sequence[int], limit: int | None, seed: int
) -> PointCloud:
    """Load coloured points of the scene's world for a training on some frames of the clip (0 is its start).

    From the file `source` where given (see `read_points`); else COLMAP models `colmap_<number>/sparse/0` of the asked
    frames, numbered as the footage's files; else the first of CLOUDS; else `limit` random points (RANDOM_POINTS without
    a limit) where the cameras look. The source "random" is these, whatever the scene has. Of sources that know the
    frame of each point, only the asked frames are kept, or the nearest there is. More than `limit` points are thinned
    evenly. Not scaled: Ex4DGS's world of Technicolor is its recipe's concern. SceneError where a file is missing or
    unreadable, or the training cameras see none of its points.
    """
    if limit is not None and limit < 1:
        raise SceneError(f"{limit} start points asked for; give a positive number, or none to use all")
    if not frames:
        raise SceneError("no frames asked for: start points belong to the frames of a training; give at least one")
    cloud = None if source == "random" else _stored_cloud(scene, source, frames)
    if cloud is None:
        return random_points(scene, frame=frames[0], count=limit or RANDOM_POINTS, seed=seed)
    cloud = _checked(scene, cleaned(cloud))
    return cloud if limit is None else thinned(cloud, limit)


def holds_start_points(root: Path) -> bool:
    """Tell whether a scene's folder has start points of any frame, so that a training needs no random ones."""
    return bool(start_points_in(root))


def start_points_in(root: Path) -> list[Path]:
    """The files and folders of a scene's folder that hold start points of any frame."""
    names = (*(name.format(start="*") for name in CLOUDS), "colmap_*/sparse/0")
    return [path for name in names for path in root.glob(name)]


def stored_start_points(scene: Scene, *, source: Path | None, frame: int) -> PointCloud | None:
    """Load the points at a frame from a file, or from what the scene's folder holds; None where it holds none.

    The files are those of `load_start_points`. SceneError where a file is missing or unreadable.
    """
    cloud = _stored_cloud(scene, source, (frame,))
    return None if cloud is None else cleaned(cloud)


def _stored_cloud(scene: Scene, source: Path | None, frames: Sequence[int]) -> PointCloud | None:
    if source is not None:
        return _of_frames(scene, source, frames)
    models = _colmap_cloud(scene, frames)
    if models is not None:
        return models
    for name in CLOUDS:
        path = scene.root / name.format(start=scene.start)
        if path.is_file():
            return _of_frames(scene, path, frames)
    return None


def _colmap_cloud(scene: Scene, frames: Sequence[int]) -> PointCloud | None:
    """Points of the asked frames' COLMAP models, each with its frame; None where no model has points."""
    stored: dict[int, StoredPoints] = {}
    for frame in frames:
        folder = scene.root / f"colmap_{scene.start + frame}" / "sparse" / "0"
        path = next((folder / name for name in MODEL_POINTS if (folder / name).is_file()), None)
        if path is not None and len((points := read_points(path)).positions) > 0:
            stored[frame] = points
    if not stored:
        return None
    counts = [len(points.positions) for points in stored.values()]
    return PointCloud(
        positions=torch.from_numpy(np.concatenate([points.positions for points in stored.values()])),
        colours=torch.from_numpy(np.concatenate([points.colours for points in stored.values()])),
        frames=torch.from_numpy(np.repeat(np.array(list(stored), np.float32), counts)),
        note=f"{counted(sum(counts), 'point')} from {_models(scene, list(stored), asked=len(frames))}",
    )


def _models(scene: Scene, frames: Sequence[int], *, asked: int) -> str:
    """The COLMAP models of some of the frames that were asked for."""
    if len(frames) == asked == 1:
        return f"the COLMAP model of frame {scene.start + frames[0]}"
    return f"the COLMAP models of {'' if len(frames) == asked else f'{len(frames):,} of '}{counted(asked, 'frame')}"


def _of_frames(scene: Scene, path: Path, frames: Sequence[int]) -> PointCloud:
    """The file's points at the asked frames, numbered from the clip's start."""
    stored = read_points(path)
    if len(stored.positions) == 0:
        raise SceneError(f"{path}: holds no points; reconstruct the scene again, or move it away for random points")
    moments = stored.frames
    if moments is not None:
        moments = moments - scene.start
    elif stored.fractions is not None:
        moments = np.rint(stored.fractions * _duration(scene, path))
    cloud = PointCloud(
        positions=torch.from_numpy(stored.positions),
        colours=torch.from_numpy(stored.colours),
        frames=None if moments is None else torch.from_numpy(moments),
        note=f"{counted(len(stored.positions), 'point')} from {path}",
    )
    return cloud if cloud.frames is None else _at_frames(cloud, frames, start=scene.start)


def _duration(scene: Scene, path: Path) -> int:
    """Frames that a whole clip's fractions count: STG's file is named for them."""
    named = re.search(r"_total(\d+)$", path.stem)
    return int(named[1]) if named else scene.num_frames


def _at_frames(cloud: PointCloud, frames: Sequence[int], *, start: int) -> PointCloud:
    """The points at some frames of the clip, or those at the nearest; `start` is the number of frame 0 in the files."""
    assert cloud.frames is not None
    wanted = torch.isin(cloud.frames, torch.tensor(list(frames), dtype=torch.float32))
    if wanted.all():
        return cloud
    first, last = start + frames[0], start + frames[-1]
    where = f"frame {first}" if len(frames) == 1 else f"frames {first} to {last}"
    if wanted.any():
        return taken(cloud, wanted, f"kept the {int(wanted.sum()):,} at {where}")
    nearest = cloud.frames[(cloud.frames - frames[0]).abs().argmin()]
    note = f"none at {where}, so kept those at frame {start + nearest:g}, the nearest"
    return taken(cloud, cloud.frames == nearest, note)


def _checked(scene: Scene, cloud: PointCloud) -> PointCloud:
    """The cloud, with a remark where few of its points are in any image; SceneError where none is."""
    if cloud.count == 0:
        raise SceneError(f"{scene.root}: no start points are left ({cloud.note}); reconstruct the scene again")
    cameras = [scene.views[index].camera for index in scene.train]
    seen = views_of(cloud.positions, cameras) > 0
    if not seen.any():
        raise SceneError(
            f"{scene.root}: none of the start points is in the image of a training camera ({cloud.note}): do they "
            "live in another world frame? use the points of the reconstruction that the cameras come from"
        )
    share = float(seen.double().mean())
    if share >= FEW_SEEN:
        return cloud
    note = f"only {share:.1%} of them are in the image of a training camera: do they live in another world frame?"
    return taken(cloud, torch.arange(cloud.count), note)
