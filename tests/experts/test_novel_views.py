"""Culling at novel views: floaters go, what training cameras see from about as close stays."""

from __future__ import annotations

import torch
from moegs_rasterizer import Camera, Gaussians

from experts.novel_views import novel_view_culling


def at(x: float, z: float = 0.0) -> Camera:
    """A camera at (x, 0, z) that looks along +z, with a field of view of 90 degrees."""
    world_to_camera = torch.eye(4)
    world_to_camera[0, 3], world_to_camera[2, 3] = -x, -z
    return Camera(world_to_camera=world_to_camera, fx=10.0, fy=10.0, cx=10.0, cy=10.0, width=20, height=20)


def cloud(*means: tuple[float, float, float]) -> Gaussians:
    count = len(means)
    return Gaussians(
        means=torch.tensor(means),
        scales=torch.full((count, 3), 0.1),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        opacities=torch.full((count,), 0.7),
        colours=torch.zeros(count, 3),
    )


def kept(near: float, cameras: list[Camera], *means: tuple[float, float, float]) -> list[bool]:
    gaussians = cloud(*means)
    culled = novel_view_culling(near, cameras, device=torch.device("cpu")).cull(gaussians, at(0))
    assert culled.means is gaussians.means and culled.count == gaussians.count
    assert all(each in (0, gaussians.opacities[0]) for each in culled.opacities)
    return [bool(opacity) for opacity in culled.opacities]


def test_a_floater_that_no_training_camera_sees_is_culled():
    # 0.5 before the novel camera; cameras 2 units to the side see |x - 2| <= 0.5 there
    assert kept(1.0, [at(-2), at(2)], (0, 0, 0.5)) == [False]


def test_what_lies_behind_the_near_plane_or_behind_the_camera_stays():
    assert kept(1.0, [at(-2), at(2)], (0, 0, 1.0), (0, 0, 3), (0, 0, -0.5)) == [True] * 3


def test_a_real_foreground_stays():
    """A camera 0.2 units to the side sees it from as close."""
    assert kept(1.0, [at(-2), at(0.2)], (0, 0, 0.5), (0.1, 0, 0.9)) == [True, True]


def test_a_camera_speaks_only_for_what_it_sees_from_at_most_twice_as_far():
    # the camera behind, at z = -0.4, is 0.85 from a mean at 0.45, and 0.7 from one at 0.3
    assert kept(1.0, [at(0, -0.4)], (0, 0, 0.45), (0, 0, 0.3)) == [True, False]


def test_a_camera_does_not_speak_for_what_is_behind_it_or_beside_its_image():
    assert kept(1.0, [at(0, 0.6)], (0, 0, 0.5)) == [False]
    assert kept(1.0, [at(0.51)], (0, 0, 0.5), (0.02, 0, 0.5)) == [False, True]


def test_nothing_before_the_plane_changes_nothing():
    gaussians = cloud((0, 0, 2))
    assert novel_view_culling(1.0, [at(2)], device=torch.device("cpu")).cull(gaussians, at(0)) is gaussians
