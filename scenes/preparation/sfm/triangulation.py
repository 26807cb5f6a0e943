"""Points from images of one moment whose cameras are known."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moegs_rasterizer import Camera

from common.disk.files import put_in_place
from scenes.calibration.cameras import fitted
from scenes.frames.image_files import probe_images
from scenes.preparation.sfm.agreement import verify_by
from scenes.preparation.sfm.attempts import Attempt, CloudReport, best_of, measured, reported
from scenes.preparation.sfm.known_cameras import known_model, write_database
from scenes.preparation.sfm.matching import (
    ALL_CORES,
    SEED,
    SfmOptions,
    colmap_errors,
    described_options,
    escalated,
    match_all,
    pycolmap_module,
)
from scenes.types import SceneError

_TOLERANCE = 1e-6  # of the bundle adjustment's cost, which moves points alone: Ex4DGS's and STG's value
_ADVICE = (
    "Check that each image belongs to its camera (rows of the calibration in the order of the sorted names), try "
    "another frame or larger images, or go on with what there is (--accept_poor)"
)


def triangulated(
    images: Mapping[str, Path], cameras: Mapping[str, Camera], target: Path, options: SfmOptions
) -> CloudReport:
    """Find points of images (by camera name) taken at once by known cameras: `target`/images and `target`/sparse/0.

    Poses and intrinsics stay as they are; cameras calibrated at another size of the images are scaled to it. Where
    few points are found, a second attempt is made with `escalated` settings, and the better one kept. The images,
    which pinhole cameras leave undistorted, are linked or copied. SceneError, with nothing written, where images and
    cameras do not fit, or, unless `accept_poor` is set, the result is poor or the matches contradict a camera: so
    cameras in the wrong order are found.
    """
    sizes = image_sizes(images)
    missing = sorted(set(images) - set(cameras))
    if missing:
        raise SceneError(f"{target}: images of {', '.join(missing)}, but no cameras; give one camera an image")
    known = {name: fitted(name, cameras[name], *size) for name, size in sizes.items()}
    with scratch_beside(target) as scratch, colmap_errors(str(target)):
        files = linked(images, scratch / "images")
        attempts: list[Attempt] = []
        for number, settings in enumerate((options, escalated(options))):
            attempts.append(_attempt(known, files, scratch / f"attempt_{number}", settings))
            if attempts[-1].is_enough or attempts[-1].agreement.contradicted:
                break
        kept = best_of(attempts)
        report = reported(
            attempts, kept, accept_poor=options.accept_poor, place=f"{target}: points of known cameras", advice=_ADVICE
        )
        save_result(scratch, kept.model, target)
    return report


def image_sizes(images: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    """Read width and height in px of each image; SceneError where fewer than two are given, or one is unreadable."""
    if len(images) < 2:
        raise SceneError(f"{len(images)} images given ({', '.join(images)}); points need at least two cameras")
    missing = [str(path) for path in images.values() if not path.is_file()]
    if missing:
        raise SceneError(f"{missing[0]}: no such image; extract the frames again")
    probed = {name: probe_images({0: path}) for name, path in sorted(images.items())}
    return {name: (files.width, files.height) for name, files in probed.items()}


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """Make a folder on the target's disk that is gone after use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}_", dir=target.parent) as folder:
        yield Path(folder)


def linked(images: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """Put images into a folder as <camera><ending>, linked where the disk allows; returns those file names."""
    folder.mkdir()
    files = {name: name + path.suffix.lower() for name, path in sorted(images.items())}
    for name, file in files.items():
        try:
            os.link(images[name].resolve(), folder / file)
        except OSError:
            shutil.copyfile(images[name], folder / file)
    return files


def save_result(scratch: Path, model: Any, target: Path) -> None:
    """Write the model (binary) and move it and the images to the target, which loses what it had of them."""
    (scratch / "sparse" / "0").mkdir(parents=True)
    model.write_binary(scratch / "sparse" / "0")
    target.mkdir(exist_ok=True)
    put_in_place({scratch / part: target / part for part in ("images", "sparse")}, aside=scratch / "old")


def _attempt(cameras: Mapping[str, Camera], files: Mapping[str, str], folder: Path, options: SfmOptions) -> Attempt:
    folder.mkdir()
    images = folder.parent / "images"
    database = folder / "database.db"
    model = known_model(cameras, files)
    write_database(database, model)
    match_all(database, images, [files[name] for name in sorted(files)], options)
    if options.verify_by_cameras:
        agreement = verify_by(database, model, threads=options.threads)
        with_points = _points(database, model, images, options)
    else:
        with_points = _points(database, model, images, options)
        agreement = verify_by(database, known_model(cameras, files), threads=options.threads)
    return measured(described_options(options), with_points, sorted(files), agreement, are_known=True)


def _points(database: Path, model: Any, images: Path, options: SfmOptions) -> Any:
    """The model with the points that the verified matches give."""
    pycolmap = pycolmap_module()
    settings = pycolmap.IncrementalPipelineOptions()
    settings.num_threads = options.threads or ALL_CORES
    settings.random_seed = SEED
    settings.ba_global_function_tolerance = _TOLERANCE
    settings.triangulation.ignore_two_view_tracks = not options.two_view_points
    pycolmap.set_random_seed(SEED)
    folder = database.with_name("model")
    folder.mkdir()
    return pycolmap.triangulate_points(model, database, images, folder, options=settings)
