"""The checks on a synthetic rig and on a real one: faults put into a camera are found, and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from scenes import FrameStore, Scene, SceneOptions, load_scene
from scenes.footage import check_frames, check_headers

FIRST, COUNT = 30, 80  # the clip, with footage before and after it for cameras out of step
MOST_AHEAD = 12  # frames; later footage is not decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Frames from FIRST on; some cameras late by frames, some spoilt."""

    frames: FrameStore
    late: dict[int, int] = field(default_factory=dict)
    spoilt: dict[int, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)

    def read(self, view: int, frame: int) -> np.ndarray:
        image = self.frames.read(view, FIRST + frame - self.late.get(view, 0))
        return self.spoilt[view](image) if view in self.spoilt else image


@pytest.fixture(scope="module")
def load(shared, tmp_path_factory) -> Callable[[str], Scene]:
    loaded: dict[str, Scene] = {}

    def load(name: str) -> Scene:
        if name not in loaded:
            cache = tmp_path_factory.mktemp(name)
            options = SceneOptions(cache=cache, end=FIRST + COUNT + MOST_AHEAD, progress=False)
            loaded[name] = load_scene(shared(f"data/{name}"), options)
        return loaded[name]

    return load


def clip(scene: Scene, **faults) -> Scene:
    return replace(scene, num_frames=COUNT, frames=Clip(frames=scene.frames, **faults))


def points_of(shared, name: str) -> Path | None:
    return shared("data/kitchen_tiny") / "surface_points.npz" if name == "kitchen_tiny" else None


def test_a_synthetic_rig_has_no_faults(load, shared):
    scene = load("kitchen_tiny")
    assert check_headers(scene.sources).warnings == ()
    checks = check_frames(clip(scene), points=points_of(shared, "kitchen_tiny"))
    assert checks.warnings == checks.notes == ()
    # Measured: 0.03 frames, 0.02, 0.92 and 0.88.
    assert max(abs(row.offset.frames) for row in checks.cameras) < 0.1
    assert np.abs([row.colours.gains for row in checks.cameras]).max() < 0.04
    assert min(row.sharpness for row in checks.cameras) > 0.88
    assert min(row.shared for row in checks.cameras) > 0.8


@pytest.mark.slow
def test_a_real_rig_has_no_fault_but_its_colours(load):
    scene = load("basketball")
    assert check_headers(scene.sources).warnings == ()
    checks = check_frames(clip(scene))
    (warning,) = checks.warnings
    assert warning.startswith("9 of 28 cameras differ in colour by 10% or more in a channel: cam02 is 23% darker (")
    sure = [row.offset.frames for row in checks.cameras if row.offset.is_sure]
    assert len(sure) >= 25
    assert np.abs(sure).max() < 0.5
    assert min(row.sharpness for row in checks.cameras) > 0.82


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 60])
def test_a_short_clip_of_a_real_rig_has_no_camera_out_of_step(load, first):
    """Cameras 24, 5 and 26 have a peak four frames off there: something passes them twice."""
    scene = load("basketball")
    checks = check_frames(
        replace(scene, num_frames=30, frames=Clip(frames=scene.frames, late=dict.fromkeys(range(28), FIRST - first)))
    )
    assert not any(row.offset.is_out_of_step for row in checks.cameras if row.offset)


@pytest.mark.parametrize(("view", "late"), [(0, 1), (5, 3), (3, -MOST_AHEAD)])
def test_a_camera_out_of_step_in_a_synthetic_rig(load, view, late):
    checks = check_frames(clip(load("kitchen_tiny"), late={view: late}))
    expected = np.zeros(8)
    expected[view] = late
    assert [row.offset.frames for row in checks.cameras] == pytest.approx(expected, abs=0.1)
    (warning,) = checks.warnings
    assert warning.startswith(f"cam{view:02d} is {abs(late)}.0 frames {'behind' if late > 0 else 'ahead of'} the other")


@pytest.mark.slow
def test_cameras_out_of_step_and_one_blurred_in_a_real_rig(load):
    late = {4: 3, 11: -1, 20: 12, 25: -5}
    scene = load("basketball")
    sigma = 2 * scene.views[0].camera.width / 320
    blur = {7: lambda image: gaussian_filter(image, (sigma, sigma, 0))}
    checks = check_frames(clip(scene, late=late, spoilt=blur))
    stray = {index: row.offset.frames for index, row in enumerate(checks.cameras) if row.offset.is_out_of_step}
    assert stray == pytest.approx(late, abs=0.5)
    (blurred,) = [warning for warning in checks.warnings if "blurred" in warning]
    assert blurred.startswith(f"blurred in comparison with the other cameras: {scene.views[7].name} (")
    assert len(checks.warnings) == len(late) + 2


def test_a_blurred_camera_in_a_synthetic_rig(load):
    scene = load("kitchen_tiny")
    blur = {4: lambda image: gaussian_filter(image, (1, 1, 0))}  # 2 px in an image of 320 px
    (warning,) = check_frames(clip(scene, spoilt=blur)).warnings
    assert warning.startswith("blurred in comparison with the other cameras: cam04 (")


def test_a_darker_camera_in_a_synthetic_rig(load, shared):
    scene = load("kitchen_tiny")
    dark = {2: lambda image: (image * (0.8, 0.82, 0.9)).astype(np.uint8)}
    checks = check_frames(clip(scene, spoilt=dark), points=points_of(shared, "kitchen_tiny"))
    assert np.exp(checks.cameras[2].colours.gains) == pytest.approx((0.8, 0.82, 0.9), abs=0.04)
    (warning,) = checks.warnings
    assert "1 of 8 cameras differs in colour by 10% or more in a channel: cam02 is 1" in warning
