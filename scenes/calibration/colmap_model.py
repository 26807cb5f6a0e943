"""Cameras of a COLMAP model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from moegs_rasterizer import Camera

from scenes.types import SceneError

if TYPE_CHECKING:
    import pycolmap

POINTS_OF_NONE = {".bin": bytes(8), ".txt": b""}


def colmap_folder(root: Path, start: int) -> Path | None:
    """Give `colmap_<start>/sparse/0`; None where no model lies there."""
    folder = root / f"colmap_{start}" / "sparse" / "0"
    return folder if any((folder / f"images{suffix}").is_file() for suffix in POINTS_OF_NONE) else None


def read_colmap_cameras(folder: Path) -> dict[str, Camera]:
    """Read cameras by image name without its ending ("cam00.png" -> "cam00"), principal points as stored.

    World units of the model. SceneError where it is unreadable, or a camera is neither PINHOLE nor SIMPLE_PINHOLE.
    """
    model = _read_without_points(folder)
    images = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    cameras = {Path(image.name).stem: _camera(folder, model, image) for image in images}
    if not cameras:
        raise SceneError(f"{folder}: the COLMAP model has no posed image; run COLMAP again")
    return cameras


def _read_without_points(folder: Path) -> pycolmap.Reconstruction:
    # pycolmap refuses models whose images lost their 2D points, as published ones do; without points it reads them.
    try:
        import pycolmap
    except ImportError as error:
        raise SceneError(
            f"{folder}: reading a COLMAP model needs pycolmap ({error}); pip install pycolmap, or rename the folder"
        ) from error
    suffix = ".bin" if (folder / "images.bin").is_file() else ".txt"
    with tempfile.TemporaryDirectory(prefix="colmap_") as scratch:
        for stem in ("cameras", "images", "rigs", "frames"):
            if (folder / f"{stem}{suffix}").is_file():
                shutil.copyfile(folder / f"{stem}{suffix}", Path(scratch) / f"{stem}{suffix}")
        (Path(scratch) / f"points3D{suffix}").write_bytes(POINTS_OF_NONE[suffix])
        try:
            return pycolmap.Reconstruction(scratch)
        except (ValueError, RuntimeError, LookupError) as error:
            reason = str(error).splitlines()[0]
            raise SceneError(f"{folder}: not a readable COLMAP model ({reason}); run COLMAP again") from error


def _camera(folder: Path, model: pycolmap.Reconstruction, image: pycolmap.Image) -> Camera:
    lens = model.cameras[image.camera_id]
    if lens.model_name not in ("PINHOLE", "SIMPLE_PINHOLE"):
        raise SceneError(
            f"{folder}: {image.name} has a {lens.model_name} camera, only PINHOLE and SIMPLE_PINHOLE are supported; "
            "run COLMAP's image_undistorter and use its model"
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
