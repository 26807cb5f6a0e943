"""Cameras of a COLMAP model."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from moegs_rasterizer import Camera

from common.disk.faults import reading
from common.signals import kept_handlers
from scenes.calibration.cameras import checked
from scenes.calibration.colmap_sizes import check_binary
from scenes.types import SceneError

if TYPE_CHECKING:
    import pycolmap

POINTS_OF_NONE = {".bin": bytes(8), ".txt": b""}
MODELS = ("PINHOLE", "SIMPLE_PINHOLE")
BENT_MODELS = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")  # pinholes where all their distortion is zero
FRAME_NAME = re.compile(r"(frame_?)?\d+")  # of an image in its camera's folder


def colmap_folder(root: Path, start: int) -> Path | None:
    """Give `colmap_<start>/sparse/0`; None where no model lies there."""
    folder = root / f"colmap_{start}" / "sparse" / "0"
    return folder if _is_model(folder) else None


def scene_model(root: Path) -> Path | None:
    """Give `sparse/0`, where 3DGS and 4DGaussians have a scene's model; None where no model lies there."""
    folder = root / "sparse" / "0"
    return folder if _is_model(folder) else None


def colmap_folders(root: Path) -> list[str]:
    """List the folders `colmap_<frame>` that hold a model, by name."""
    return sorted(path.parent.parent.name for path in root.glob("colmap_*/sparse/0"))


def camera_name(image: str) -> str:
    """Name the camera of a model's image: "cam00.png", "images/cam00.png" and "cam00/000000.png" are cam00's.

    An image that is named as a frame (000000, frame_00001) has its folder's name, or that of the folder above `images`.
    """
    path = PurePosixPath(image.replace("\\", "/"))
    folders = [part for part in path.parts[:-1] if part.lower() != "images"]
    return folders[-1] if folders and FRAME_NAME.fullmatch(path.stem) else path.stem


def _is_model(folder: Path) -> bool:
    return any((folder / f"images{suffix}").is_file() for suffix in POINTS_OF_NONE)


def read_colmap_cameras(folder: Path) -> dict[str, Camera]:
    """Read cameras by their names (see `camera_name`), principal points as stored.

    World units of the model. SceneError where it is unreadable, two images are of one camera, or a camera is neither
    PINHOLE nor SIMPLE_PINHOLE and has distortion.
    """
    with reading(folder, "not a readable COLMAP model", SceneError, advice="run COLMAP again"):
        return _posed_cameras(folder, _read_without_points(folder))


def _posed_cameras(folder: Path, model: pycolmap.Reconstruction) -> dict[str, Camera]:
    """Cameras of a model's posed images; names that are no UTF-8 raise only when they are asked for."""
    images = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    if not images:
        raise SceneError(f"{folder}: the COLMAP model has no posed image; run COLMAP again")
    by_camera: dict[str, list[pycolmap.Image]] = defaultdict(list)
    for image in images:
        by_camera[camera_name(image.name)].append(image)
    for name, same in by_camera.items():
        if len(same) > 1:
            raise SceneError(
                f"{folder}: {len(same)} images are of {name} ({same[0].name}, {same[1].name}, …); "
                "run COLMAP on one frame of each camera, named as the camera"
            )
    return {name: checked(_camera(folder, model, same[0]), f"{folder}: {name}") for name, same in by_camera.items()}


def _read_without_points(folder: Path) -> pycolmap.Reconstruction:
    # pycolmap refuses models whose images lost their 2D points, as published ones do; without points it reads them.
    try:
        with kept_handlers():
            import pycolmap
    except ImportError as error:
        raise SceneError(
            f"{folder}: reading a COLMAP model needs pycolmap ({error}); pip install pycolmap, or rename the folder"
        ) from error
    suffix = ".bin" if (folder / "images.bin").is_file() else ".txt"
    with tempfile.TemporaryDirectory(prefix="colmap_") as scratch:
        for stem in ("cameras", "images", "rigs", "frames"):
            if (folder / f"{stem}{suffix}").is_file():
                if suffix == ".bin":
                    check_binary(folder / f"{stem}{suffix}")
                shutil.copyfile(folder / f"{stem}{suffix}", Path(scratch) / f"{stem}{suffix}")
        (Path(scratch) / f"points3D{suffix}").write_bytes(POINTS_OF_NONE[suffix])
        return pycolmap.Reconstruction(scratch)


def _camera(folder: Path, model: pycolmap.Reconstruction, image: pycolmap.Image) -> Camera:
    lens = model.cameras[image.camera_id]
    straight = lens.model_name in BENT_MODELS and not any(lens.params[index] for index in lens.extra_params_idxs())
    if lens.model_name not in MODELS and not straight:
        raise SceneError(
            f"{folder}: {image.name} has a {lens.model_name} camera with distortion, only cameras without are "
            "supported, as PINHOLE; run COLMAP's image_undistorter and use its model"
        )
    world_to_camera = torch.eye(4, dtype=torch.float64)
    world_to_camera[:3] = torch.from_numpy(image.cam_from_world().matrix().copy())
    return Camera(
        world_to_camera=world_to_camera,
        fx=lens.focal_length_x,
        fy=lens.focal_length_y,
        cx=lens.principal_point_x,
        cy=lens.principal_point_y,
        width=lens.width,
        height=lens.height,
    )
