"""Cameras as COLMAP's records of rigs, frames and images, and databases that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moegs_rasterizer import Camera

from scenes.preparation.sfm.matching import pycolmap_module

FOCAL_GUESS = 1.2  # of the longer side: COLMAP's first guess of an unknown focal length


def known_model(cameras: Mapping[str, Camera], files: Mapping[str, str]) -> Any:
    """Make a pycolmap.Reconstruction without points: a PINHOLE camera, a rig and a posed frame for each image.

    `files` are the images' names by camera; ids count from 1 in the order of the cameras' names. Each camera is the
    only sensor of its own rig: COLMAP from 3.12 on refuses models without rigs and frames.
    """
    pycolmap = pycolmap_module()
    model = pycolmap.Reconstruction()
    for number, name in enumerate(sorted(files), start=1):
        camera = cameras[name]
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(
                camera_id=number,
                model="PINHOLE",
                width=camera.width,
                height=camera.height,
                params=[camera.fx, camera.fy, camera.cx, camera.cy],
                has_prior_focal_length=True,
            )
        )
        image = pycolmap.Image(name=files[name], camera_id=number, image_id=number)
        model.add_image_with_trivial_frame(image, pose_of(camera))
    return model


def pose_of(camera: Camera) -> Any:
    """Give world to camera as a pycolmap.Rigid3d whose quaternion stays the same, to the bit, when normalised again."""
    pycolmap = pycolmap_module()
    matrix = camera.world_to_camera.double().cpu().numpy()
    rotation = pycolmap.Rotation3d(matrix[:3, :3])
    for _ in range(4):
        rotation.normalize()
    return pycolmap.Rigid3d(rotation, matrix[:3, 3])


def unknown_model(sizes: Mapping[str, tuple[int, int]], files: Mapping[str, str], *, own: bool) -> Any:
    """Make a pycolmap.Reconstruction of SIMPLE_RADIAL cameras to be found, without poses and points.

    Images of one size (width, height in px) share a camera, or each has its `own`.
    """
    pycolmap = pycolmap_module()
    model = pycolmap.Reconstruction()
    numbers: dict[Any, int] = {}
    for number, name in enumerate(sorted(files), start=1):
        key = name if own else sizes[name]
        if key not in numbers:
            numbers[key] = number
            width, height = sizes[name]
            guess = FOCAL_GUESS * max(width, height)
            model.add_camera_with_trivial_rig(
                pycolmap.Camera.create_from_model_name(number, "SIMPLE_RADIAL", guess, width, height)
            )
        image = pycolmap.Image(name=files[name], camera_id=numbers[key], image_id=number)
        model.add_image_with_trivial_frame(image)
    return model


def write_database(path: Path, model: Any) -> None:
    """Write a new database with the model's cameras, rigs, frames and images, by the same ids."""
    pycolmap = pycolmap_module()
    with pycolmap.Database.open(path) as store:
        for number in sorted(model.cameras):
            store.write_camera(model.cameras[number], use_camera_id=True)
            store.write_rig(model.rigs[number], use_rig_id=True)
        for number in sorted(model.images):
            store.write_frame(model.frames[number], use_frame_id=True)
            store.write_image(model.images[number], use_image_id=True)


def copy_matches(source: Path, target: Path) -> None:
    """Copy features and verified matches of a database into another that has the same images but none of those."""
    pycolmap = pycolmap_module()
    with pycolmap.Database.open(source) as old, pycolmap.Database.open(target) as new:
        for image in old.read_all_images():
            new.write_keypoints(image.image_id, old.read_keypoints(image.image_id))
        pairs, geometries = old.read_two_view_geometries()
        for pair, geometry in zip(pairs, geometries, strict=True):
            first, second = pycolmap.pair_id_to_image_pair(pair)
            new.write_matches(first, second, old.read_matches(first, second))
            new.write_two_view_geometry(first, second, geometry)
