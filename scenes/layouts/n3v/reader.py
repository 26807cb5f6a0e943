"""Reader of the Neural 3D Video layout."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from moegs_rasterizer import Camera

from scenes.calibration.cameras import largest_difference
from scenes.calibration.colmap_model import colmap_folder, colmap_folders, read_colmap_cameras, scene_model
from scenes.calibration.poses_bounds import POSES, read_poses_bounds
from scenes.layouts.n3v.frames import CAMERA_NAME, find_frames
from scenes.layouts.spec import RigFiles
from scenes.options import SceneOptions
from scenes.types import SceneError

logger = logging.getLogger(__name__)

SAME_RIG = 1e-3  # relative difference up to which two calibrations agree
UNSYNCHRONISED = {"coffee_martini": "cam13"}  # scene -> camera known to be out of step with the others


def read_n3v(root: Path, options: SceneOptions) -> RigFiles:
    """Read cameras and frames of an N3V scene.

    Cameras come from `colmap_<start>/sparse/0` where it exists, else from `poses_bounds.npy`, which has
    no principal points, else from `sparse/0`. SceneError where frames or cameras are missing or do not fit each other.
    """
    sources, clip, notes = find_frames(root, options, names=_names_of_model(root, options.start))
    bounds = root / POSES
    model = colmap_folder(root, options.start) or colmap_folder(root, clip.start)
    if model is None and not bounds.is_file():
        model = scene_model(root)
        if model is None:
            raise SceneError(_no_cameras(root, options.start))
    if model is None:
        cameras = read_poses_bounds(bounds, list(sources))
        notes.append("cameras from poses_bounds.npy")
    else:
        cameras, more = _cameras_of_model(model, list(sources))
        notes += [f"cameras from {model.relative_to(root)}", *more]
        if bounds.is_file():
            notes += _compared(cameras, bounds, list(sources))
    return RigFiles(
        cameras=cameras, sources={name: sources[name] for name in cameras}, clip=clip, notes=(*notes, *clip.notes)
    )


def unsynchronised(root: Path, train: Sequence[str]) -> list[str]:
    """Warn of training cameras that are known to be out of step with the others of their scene."""
    return [
        f"{camera} of {scene} is not synchronised with the other cameras, and it is among the training views; "
        "remove its frames and its row of poses_bounds.npy to leave it out"
        for scene, camera in UNSYNCHRONISED.items()
        if scene in root.resolve().name and camera in train
    ]


def _names_of_model(root: Path, start: int) -> tuple[str, ...]:
    """The cameras' names that a COLMAP model has, where they are not called camXX."""
    model = colmap_folder(root, start) or scene_model(root)
    if model is None or any(CAMERA_NAME.match(path.name) for path in root.iterdir()):
        return ()
    return tuple(read_colmap_cameras(model))


def _no_cameras(root: Path, start: int) -> str:
    others = colmap_folders(root)
    hint = f"; there is {', '.join(others)}: set start to match" if others else "; copy it from the data set"
    return f"{root}: neither poses_bounds.npy nor a COLMAP model in colmap_{start}/sparse/0 or sparse/0 found{hint}"


def _cameras_of_model(folder: Path, names: Sequence[str]) -> tuple[dict[str, Camera], list[str]]:
    stored = read_colmap_cameras(folder)
    shared = [name for name in names if name in stored]
    if not shared:
        raise SceneError(
            f"{folder}: its images ({', '.join(sorted(stored)[:3])}, …) and the cameras with frames "
            f"({', '.join(names[:3])}, …) share no name; name the images as the cameras"
        )
    notes = _lost(folder, [name for name in names if name not in stored], len(names))
    notes += [f"{name} is in the COLMAP model but has no frames: not used" for name in sorted(set(stored) - set(names))]
    return {name: stored[name] for name in shared}, notes


def _lost(folder: Path, lost: Sequence[str], count: int) -> list[str]:
    """Warn of cameras with frames that the reconstruction lost."""
    if not lost:
        return []
    note = f"{len(lost)} of {count} cameras with frames are not in the COLMAP model and not used: {', '.join(lost)}"
    logger.warning("%s: %s", folder, note)
    return [note]


def _compared(cameras: Mapping[str, Camera], bounds: Path, names: Sequence[str]) -> list[str]:
    try:
        others = read_poses_bounds(bounds, names)
    except SceneError as error:
        return [f"poses_bounds.npy could not be compared with the COLMAP model: {error}"]
    worst, difference = largest_difference(cameras, others)
    if difference <= SAME_RIG:
        return []
    note = (
        f"the COLMAP model and poses_bounds.npy differ, most at {worst}: {difference:.2g} relative; the model is used"
    )
    logger.warning("%s: %s", bounds.parent, note)
    return [note]
