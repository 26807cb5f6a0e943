"""Lenses of a model: their distortion, how well it is determined, and the model without it."""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenes.preparation.sfm.matching import pycolmap_module
from scenes.types import SceneError

logger = logging.getLogger(__name__)

LARGEST_BEND = 0.003  # of the diagonal: how far a lens may move a corner's pixels before pinholes are too wrong
SURE = 3.0  # uncertainties by which a lens must exceed that before it is refused
_OUTLIER = 3.0  # standard deviations beyond which an error counts no more than there
_MEDIAN = math.sqrt(2 * math.log(2))  # of the length of a normal error in two dimensions, in standard deviations


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """A SIMPLE_RADIAL camera's distortion."""

    bend: float  # px: how far it moves the pixels of the corners
    uncertainty: float  # px: standard deviation of that; infinite where the images do not tell
    diagonal: float  # px
    filter: float  # k1 of FFmpeg's lenscorrection that removes it

    @property
    def limit(self) -> float:
        """Bend that pinholes may have, px."""
        return LARGEST_BEND * self.diagonal


def straightened(model: Any, *, place: str, accept: bool) -> None:
    """Make a model's cameras pinholes, in place (see `straighten`); SceneError where lenses surely bend too much.

    Where they only seem to, or are accepted, a warning says so.
    """
    bent = copy.deepcopy(model)
    straighten(model)
    if all(bend(camera) <= LARGEST_BEND * _diagonal(camera) for camera in bent.cameras.values()):
        return
    lenses = judged_lenses(bent, model)
    sure = [lens for lens in lenses if lens.bend - SURE * lens.uncertainty > lens.limit]
    worst = max(sure or lenses, key=lambda lens: lens.bend / lens.diagonal)
    if sure and not accept:
        raise SceneError(
            f"{place}: the lenses move pixels by up to {worst.bend:.1f} px at the corners, and frames are used as "
            f"pinholes; straighten the videos first (ffmpeg -vf lenscorrection=k1={worst.filter:.5f}:k2=0:i=bilinear), "
            "or go on all the same (--accept_poor)"
        )
    known = f"{worst.uncertainty:.1f} px" if math.isfinite(worst.uncertainty) else "unknown"
    logger.warning(
        "the lenses seem to move pixels by up to %.1f px at the corners (standard deviation: %s); frames are used as "
        "pinholes; larger images or more texture tell more",
        worst.bend,
        known,
    )


def bend(camera: Any) -> float:
    """Measure how far a SIMPLE_RADIAL camera's distortion moves its corners' pixels, in px."""
    focal, _, _, k = camera.params
    radius = math.hypot(camera.width, camera.height) / 2 / focal
    return abs(k) * radius**3 * focal


def straighten(model: Any) -> None:
    """Make a model's SIMPLE_RADIAL cameras PINHOLE without distortion and adjust poses, focal lengths and points."""
    pycolmap = pycolmap_module()
    for camera in model.cameras.values():
        focal, cx, cy, _ = camera.params
        camera.model = pycolmap.CameraModelId.SIMPLE_PINHOLE
        camera.params = [focal, cx, cy]
    _adjust(model)
    for camera in model.cameras.values():
        focal, cx, cy = camera.params
        camera.model = pycolmap.CameraModelId.PINHOLE
        camera.params = [focal, focal, cx, cy]


def judged_lenses(bent: Any, straight: Any) -> list[Lens]:
    """Judge the distortion of each camera of a model by what it gains over the same model without distortion.

    The gain is that of the sum of squared reprojection errors, in units of their variance, each error cut at three
    standard deviations. About its minimum the sum is a parabola in the distortion, so the bend is the root of the gain
    times its standard deviation. Wrong matches and distortion that fits noise gain little or nothing. A camera gains
    no more than the whole model. The bent model is adjusted once more, so that both are at their minimum.
    """
    lenses = {number: (bend(camera), _filter(camera)) for number, camera in bent.cameras.items()}
    _adjust(bent)
    before, after = _errors(bent), _errors(straight)
    deviation = max(float(np.median([error for _, error in before.values()])) / _MEDIAN, 1e-6)
    gains = dict.fromkeys(lenses, 0.0)
    for key, (number, error) in before.items():
        gains[number] += _cut(after[key][1] / deviation) - _cut(error / deviation)
    total = sum(gains.values())
    judged = []
    for number, (amount, filter) in lenses.items():
        gain = min(gains[number], total)
        uncertainty = amount / math.sqrt(gain) if gain > 0 else math.inf
        diagonal = _diagonal(bent.cameras[number])
        judged.append(Lens(bend=amount, uncertainty=uncertainty, diagonal=diagonal, filter=filter))
    return judged


def _filter(camera: Any) -> float:
    # SIMPLE_RADIAL: distorted = x (1 + k |x|^2) in units of the focal length; lenscorrection's: of half the diagonal.
    focal, _, _, k = camera.params
    return float(k * (_diagonal(camera) / 2 / focal) ** 2)


def _diagonal(camera: Any) -> float:
    return math.hypot(camera.width, camera.height)


def _cut(error: float) -> float:
    return min(error, _OUTLIER) ** 2


def _adjust(model: Any) -> None:
    """Bundle adjustment of everything."""
    pycolmap = pycolmap_module()
    settings = pycolmap.BundleAdjustmentOptions()
    settings.print_summary = False
    settings.ceres.solver_options.num_threads = 1  # sums in one order: the same bits run after run
    parts = pycolmap.BundleAdjustmentConfig()
    for number in sorted(model.reg_image_ids()):
        parts.add_image(number)
    pycolmap.create_default_bundle_adjuster(settings, parts, model).solve()


def _errors(model: Any) -> dict[tuple[int, int], tuple[int, float]]:
    """Camera and reprojection error, px, of each observation, by its image and its number there."""
    errors = {}
    for image in (model.images[number] for number in model.reg_image_ids()):
        for number, point in enumerate(image.points2D):
            if point.has_point3D():
                pixel = image.project_point(model.points3D[point.point3D_id].xyz)
                error = math.inf if pixel is None else float(np.linalg.norm(pixel - point.xy))
                errors[image.image_id, number] = image.camera_id, error
    return errors
