"""Cameras and points from images of one moment, by incremental structure from motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.disk.files import replacing
from scenes.calibration.colmap_model import camera_name, read_colmap_cameras
from scenes.preparation.sfm.agreement import Agreement, verify_by
from scenes.preparation.sfm.attempts import Attempt, CloudReport, best_of, measured, reported
from scenes.preparation.sfm.known_cameras import copy_matches, unknown_model, write_database
from scenes.preparation.sfm.lenses import straightened
from scenes.preparation.sfm.matching import (
    SEED,
    SfmOptions,
    colmap_errors,
    described_options,
    escalated,
    match_all,
    pycolmap_module,
)
from scenes.preparation.sfm.triangulation import image_sizes, linked, save_result, scratch_beside
from scenes.types import SceneError

FEWEST_CAMERAS = 3
LARGEST_OFFSET = 0.5  # px, of a principal point in poses_bounds.npy
LARGEST_ASPECT = 1e-3  # of fx / fy - 1 there
NEAR_AND_FAR = (0.01, 0.99)  # quantiles of depths
_ADVICE = (
    "Choose a frame with more texture, leave out videos that share little of the others' view, or put a calibration "
    "(poses_bounds.npy) there and prepare it as n3v"
)


def mapped(images: Mapping[str, Path], target: Path, options: SfmOptions) -> CloudReport:
    """Find cameras and points of images (by camera name) taken at once: `target`/images and `target`/sparse/0.

    Cameras are SIMPLE_RADIAL while they are searched, one for all images of one size, or each its own where that
    gives too little; then their distortion, if it may be neglected, is dropped and all is adjusted once more, so that
    the model's cameras are PINHOLE with their principal point in the middle and fit the videos as they are. Where
    cameras are lost or few points found, everything is tried again with `escalated` settings. The world's origin and
    unit are arbitrary. SceneError, with nothing written, where no points are found, or, unless `accept_poor` is set,
    cameras are lost, the matches do not confirm those found, lenses surely bend too much, or points are few or inexact.
    """
    sizes = image_sizes(images)
    if len(images) < FEWEST_CAMERAS:
        raise SceneError(f"{target}: {len(images)} images; structure from motion needs {FEWEST_CAMERAS} cameras")
    with scratch_beside(target) as scratch, colmap_errors(str(target)):
        files = linked(images, scratch / "images")
        attempts: list[Attempt] = []
        for settings in (options, replace(escalated(options), verify_by_cameras=False, two_view_points=False)):
            attempts += _attempts(sizes, files, scratch / f"attempt_{len(attempts)}", settings)
            if any(attempt.is_enough for attempt in attempts):
                break
        kept = best_of(attempts)
        place = f"{target}: cameras found from the images"
        report = reported(attempts, kept, accept_poor=options.accept_poor, place=place, advice=_ADVICE)
        straightened(kept.model, place=str(target), accept=options.accept_poor)
        straight = measured(kept.settings, kept.model, sorted(files), kept.agreement, are_known=False)
        for name in kept.lost:
            (scratch / "images" / files[name]).unlink()
        save_result(scratch, kept.model, target)
    return replace(report, points=straight.points, median_error=straight.median_error)


def _attempts(
    sizes: Mapping[str, tuple[int, int]], files: Mapping[str, str], folder: Path, options: SfmOptions
) -> list[Attempt]:
    """Shared cameras, and where that is not enough one camera an image."""
    names = [files[name] for name in sorted(files)]
    matches = folder / "matches.db"
    folder.mkdir()
    write_database(matches, unknown_model(sizes, files, own=False))
    match_all(matches, folder.parent / "images", names, options)
    shared = _map(sizes, files, matches, options, own=False)
    if shared.is_enough or len(set(sizes.values())) == len(sizes):
        return [shared]
    return [shared, _map(sizes, files, matches, options, own=True)]


def _map(
    sizes: Mapping[str, tuple[int, int]], files: Mapping[str, str], matches: Path, options: SfmOptions, *, own: bool
) -> Attempt:
    pycolmap = pycolmap_module()
    database = matches.with_name("own.db" if own else "shared.db")
    write_database(database, unknown_model(sizes, files, own=own))
    copy_matches(matches, database)
    models = database.with_suffix("")
    models.mkdir()
    settings = pycolmap.IncrementalPipelineOptions()
    settings.num_threads = 1  # the sums of several threads come in any order: other bits on a busy machine
    settings.random_seed = SEED
    pycolmap.set_random_seed(SEED)
    reconstructions = pycolmap.incremental_mapping(database, matches.parent.parent / "images", models, settings)
    largest = max(
        reconstructions.values(), key=lambda model: (model.num_reg_images(), model.num_points3D()), default=None
    )
    agreement = Agreement(share=0.0, by_camera={})
    if largest is not None:
        agreement = verify_by(database, largest, threads=options.threads)
    kind = "a camera each" if own else "shared cameras"
    return measured(f"{described_options(options)}, {kind}", largest, sorted(files), agreement, are_known=False)


def poses_bounds_from(model: Path, target: Path) -> None:
    """Write a COLMAP model's cameras as `poses_bounds.npy` (see `read_poses_bounds`), in the order of their names.

    Near and far are the 1 % and 99 % quantiles of the depths of the points that a camera sees, in the model's world
    units. SceneError where the model is unreadable, a camera sees no points, or the format cannot hold a camera: it
    has one focal length and the principal point in the middle.
    """
    cameras = read_colmap_cameras(model)
    depths = _depths(model)
    rows = []
    for name in sorted(cameras):
        camera = cameras[name]
        off_centre = max(abs(camera.cx - camera.width / 2), abs(camera.cy - camera.height / 2))
        if off_centre > LARGEST_OFFSET or abs(camera.fx / camera.fy - 1) > LARGEST_ASPECT:
            raise SceneError(
                f"{model}: {name} has focal lengths {camera.fx:g} and {camera.fy:g} and its principal point "
                f"{off_centre:g} px off the middle, which {target.name} cannot hold; use the COLMAP model itself"
            )
        if len(depths.get(name, ())) == 0:
            raise SceneError(f"{model}: {name} sees no points, so its near and far are unknown; reconstruct again")
        right, down, forward, centre = camera.camera_to_world[:3].numpy().T
        size = np.array([camera.height, camera.width, camera.fx])
        matrix = np.stack([down, right, -forward, centre, size], axis=1)
        rows.append([*matrix.ravel(), *np.quantile(depths[name], NEAR_AND_FAR)])
    with replacing(target) as temporary:
        np.save(temporary, np.array(rows))


def _depths(model: Path) -> dict[str, np.ndarray]:
    """Depths of the points that each camera sees, by its name."""
    with colmap_errors(str(model)):
        stored = pycolmap_module().Reconstruction(model)
    depths = {}
    for image in stored.images.values():
        points = [stored.points3D[point.point3D_id].xyz for point in image.get_observation_points2D()]
        row = _third_row(image)
        depths[camera_name(image.name)] = (np.array(points).reshape(-1, 3) @ row[:3]) + row[3]
    return depths


def _third_row(image: Any) -> np.ndarray:
    return image.cam_from_world().matrix()[2]
