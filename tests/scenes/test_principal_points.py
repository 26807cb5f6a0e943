"""Principal points off the image centre: cameras, images, points and rays follow the calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize
from moegs_rasterizer.rays import camera_rays

from common.maths.geometry import transformed
from scenes import Scene, SceneOptions, load_scene
from scenes.novel_views import moved, shifted, with_focal_mm
from scenes.options import PrincipalPoints
from scenes.points.visibility import views_of
from tests.scenes.scene_folders import Rig, rig_cameras, write_colmap_model, write_n3v_frames, write_technicolor_scene

OFF = 20.0  # px of cam00, at the calibrated size
RIG = Rig(width=128, height=96, focal=120.0, off_centre=(OFF, 0.0))
POINT = torch.tensor([0.05, -0.1, 4.0])


def load(folder: Path, **options) -> Scene:
    return load_scene(folder, SceneOptions(cache=folder.parent / "cache", progress=False, needed="none", **options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_n3v_frames(tmp_path / "room", RIG)
    write_colmap_model(tmp_path / "room" / "sparse" / "0", rig_cameras(RIG))
    return tmp_path / "room"


def pixel(camera: Camera, point: torch.Tensor) -> tuple[float, float]:
    x, y, z = transformed(point[None].double(), camera.world_to_camera.double())[0].tolist()
    return camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy


def spot(camera: Camera, point: torch.Tensor) -> tuple[float, float]:
    """Centre of the light that one white Gaussian at a point leaves in a rendered image, in px."""
    gaussians = Gaussians(
        means=point[None],
        scales=torch.full((1, 3), 0.05),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        opacities=torch.tensor([0.9]),
        colours=torch.ones(1, 3),
    )
    layer = Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.zeros(3))
    light = rasterize([layer], camera, backend="torch")[0].colour[0]
    x, y = (torch.arange(size) + 0.5 for size in (camera.width, camera.height))
    return float((light.sum(0) * x).sum() / light.sum()), float((light.sum(1) * y).sum() / light.sum())


@pytest.mark.parametrize("resolution", [1, 2])
def test_a_point_lands_where_the_calibration_says(folder, resolution):
    calibrated = rig_cameras(RIG)["cam00"]
    wanted = [value / resolution for value in pixel(calibrated, POINT)]
    camera = load(folder, resolution=resolution).views[0].camera
    assert camera.cx == (64 + OFF) / resolution
    assert pixel(camera, POINT) == pytest.approx(wanted, abs=1e-4)
    assert spot(camera, POINT) == pytest.approx(wanted, abs=0.05)
    centred = load(folder, resolution=resolution, principal_points="centred").views[0].camera
    assert spot(centred, POINT)[0] == pytest.approx(wanted[0] - OFF / resolution, abs=0.05)


def test_other_viewpoints_keep_the_offset(folder):
    camera = load(folder).views[0].camera
    for other in (shifted(camera, torch.tensor([0.0, 0.1, 0.0])), moved(camera, right=0.1), with_focal_mm(camera, 20)):
        assert other.cx == 64 + OFF
        assert spot(other, POINT) == pytest.approx(pixel(other, POINT), abs=0.05)


def test_rays_meet_the_point_at_its_pixel(folder):
    camera = load(folder).views[0].camera
    x, y = pixel(camera, POINT)
    ray = camera_rays(camera)[3:, int(y), int(x)]
    angle = torch.acos((ray * torch.nn.functional.normalize(POINT - camera.centre, dim=0)).sum().clamp(max=1))
    assert float(torch.rad2deg(angle)) < 0.5  # a pixel is 0.48 degrees, the offset is 9.5


def test_points_are_seen_up_to_the_image_border(folder):
    camera = load(folder).views[0].camera
    depth = 4.0
    ends = torch.tensor([[(x - camera.cx) / camera.fx * depth, 0.0, depth] for x in (-1.0, 1.0, 127.0, 129.0)])
    world = transformed(ends.double(), camera.camera_to_world.double()).float()
    assert views_of(world, [camera], near=0.1, far=10.0).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("choice", "cx"), [("kept", 70.0), ("centred", 64.0)])
def test_a_technicolor_scene_has_the_choice_too(tmp_path, choice: PrincipalPoints, cx):
    write_technicolor_scene(tmp_path / "own", replace(RIG, start=1, off_centre=(6.0, 0.0)))
    scene = load(tmp_path / "own", layout="technicolor", principal_points=choice)
    assert scene.views[0].camera.cx == cx
    assert not any("--principal_points" in note for note in scene.notes)


def test_offsets_below_half_a_pixel_are_not_mentioned(tmp_path):
    rig = Rig(off_centre=(0.1, 0.1))
    write_n3v_frames(tmp_path / "room", rig)
    write_colmap_model(tmp_path / "room" / "sparse" / "0", rig_cameras(rig))
    assert not any("principal" in note for note in load(tmp_path / "room").notes)
