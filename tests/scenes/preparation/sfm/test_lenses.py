"""Lenses are refused where their distortion is well determined, and only then."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenes import SceneError
from scenes.calibration.cameras import scaled
from scenes.preparation.sfm.lenses import judged_lenses, straighten
from scenes.preparation.sfm.mapping import mapped
from scenes.preparation.sfm.matching import SfmOptions, pycolmap_module
from tests.scenes.preparation.textured_room import OPTIONS, room_cameras, write_room

SIZE = (672, 504)


def bent_model(*, k: float, noise: float, points: int = 300, wrong: int = 0) -> object:
    """Six SIMPLE_RADIAL cameras of the room as they are, and noisy observations of random points."""
    pycolmap = pycolmap_module()
    rng = np.random.default_rng(0)
    model = pycolmap.Reconstruction()
    world = rng.uniform([-1.5, -1, 2], [1.5, 1, 4], (points, 3))
    seen: list[list[tuple[int, int]]] = [[] for _ in world]
    for number, camera in enumerate(room_cameras().values(), start=1):
        lens = pycolmap.Camera.create_from_model_name(1, "SIMPLE_RADIAL", camera.fx, camera.width, camera.height)
        lens.params = [camera.fx, camera.cx, camera.cy, k]
        if number == 1:
            model.add_camera_with_trivial_rig(lens)
        pose = pycolmap.Rigid3d(camera.world_to_camera.numpy()[:3])
        pixels = [lens.img_from_cam(pose * point) for point in world]
        inside = [i for i, p in enumerate(pixels) if p is not None and 0 < p[0] < 240 and 0 < p[1] < 180]
        noisy = np.array([pixels[i] for i in inside]) + rng.normal(0, noise, (len(inside), 2))
        noisy[:wrong] += rng.normal(0, 20 * noise, (wrong, 2))
        image = pycolmap.Image(f"{number}.png", noisy, camera_id=1, image_id=number)
        model.add_image_with_trivial_frame(image, pose)
        for place, index in enumerate(inside):
            seen[index].append((number, place))
    for point, places in zip(world, seen, strict=True):
        if len(places) >= 3:
            track = pycolmap.Track([pycolmap.TrackElement(*place) for place in places])
            model.add_point3D(point, track, np.zeros(3, np.uint8))
    return model


def judged(model):
    import copy

    straight = copy.deepcopy(model)
    straighten(straight)
    (lens,) = judged_lenses(model, straight)
    return lens


def test_the_uncertainty_is_that_of_the_noise():
    corner = math.hypot(120, 90) / 195
    bends = 0.05 * corner**3 * 195
    exact, noisy = judged(bent_model(k=-0.05, noise=0.1)), judged(bent_model(k=-0.05, noise=0.4))
    assert exact.bend == pytest.approx(bends)
    assert noisy.uncertainty / exact.uncertainty == pytest.approx(4, rel=0.35)
    assert exact.bend > 10 * exact.uncertainty > 0
    wrong = judged(bent_model(k=-0.05, noise=0.1, wrong=5))
    assert wrong.uncertainty == pytest.approx(exact.uncertainty, rel=0.35)


def test_distortion_that_observations_do_not_need_is_uncertain():
    lens = judged(_with_distortion(bent_model(k=0.0, noise=0.3), -0.05))
    assert lens.bend > lens.limit
    assert lens.bend < 3 * lens.uncertainty


def _with_distortion(model, k: float):
    model.cameras[1].params = [*model.cameras[1].params[:3], k]
    return model


def test_a_slightly_bent_lens_is_refused_too(tmp_path):
    cameras = {name: scaled(camera, 320, 240) for name, camera in room_cameras().items()}
    images = write_room(tmp_path / "images", cameras, distortion=-0.05)
    with pytest.raises(SceneError, match=r"the lenses move pixels by up to 4\.\d px at the corners"):
        mapped(images, tmp_path / "colmap_0", OPTIONS)


def test_straight_lenses_of_few_features_are_accepted_with_a_warning(shared, tmp_path, caplog):
    """Eight real cameras whose matches give 8.9 px at the corners for straight lenses, more than the limit of 2.5."""
    images = _shrunk(shared("data/flame_steak_frame0") / "images", range(3, 11), tmp_path)
    with caplog.at_level(logging.WARNING):
        report = mapped(images, tmp_path / "colmap_0", SfmOptions(progress=False))
    assert (report.cameras, report.registered) == (8, 8)
    (warning,) = [record.message for record in caplog.records]
    assert warning.startswith("the lenses seem to move pixels by up to 8.")
    assert "(standard deviation: 3." in warning


def test_bent_lenses_of_the_same_cameras_are_refused(shared, tmp_path):
    images = _shrunk(shared("data/flame_steak_frame0") / "images", range(8, 16), tmp_path, share=-0.02)
    with pytest.raises(SceneError, match=r"move pixels by up to 1\d\.\d px at the corners, .*lenscorrection"):
        mapped(images, tmp_path / "colmap_0", SfmOptions(progress=False))
    accepted = mapped(images, tmp_path / "colmap_0", replace(SfmOptions(progress=False), accept_poor=True))
    assert accepted.registered == 8


def _shrunk(folder: Path, numbers: range, target: Path, *, share: float = 0.0) -> dict[str, Path]:
    """Small copies of some cameras' images, through a lens that moves corners by a share of the diagonal."""
    (target / "images").mkdir()
    paths = {}
    for name in (f"cam{number:02d}" for number in numbers):
        paths[name] = target / "images" / f"{name}.png"
        with Image.open(folder / f"{name}.jpg") as image:
            pixels = np.asarray(image.convert("RGB"))
        bent = Image.fromarray(_bent(pixels, share) if share else pixels)
        bent.resize(SIZE, Image.Resampling.LANCZOS).save(paths[name])
    return paths


def _bent(image: np.ndarray, share: float) -> np.ndarray:
    height, width = image.shape[:2]
    half = math.hypot(width, height) / 2
    rows, columns = np.mgrid[:height, :width]
    bent = np.stack([(columns + 0.5 - width / 2) / half, (rows + 0.5 - height / 2) / half])
    straight = bent
    for _ in range(15):
        straight = bent / (1 + 2 * share * np.square(straight).sum(0))
    columns = (straight[0] * half + width / 2).astype(int).clip(0, width - 1)
    rows = (straight[1] * half + height / 2).astype(int).clip(0, height - 1)
    return image[rows, columns]
