"""Cameras left to the router: spread evenly, the same in every command, at most a third."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera

from scenes import SceneError, with_router_cameras
from scenes.router_cameras import spread_cameras
from tests.small_world import random_scene


def at(*centre: float) -> Camera:
    pose = torch.eye(4)
    pose[:3, 3] = -torch.tensor(centre)
    return Camera(world_to_camera=pose, fx=20, fy=20, cx=10, cy=10, width=20, height=20)


def test_cameras_stand_for_all_the_most_central_first():
    row = [at(float(x), 0, 0) for x in range(9)]
    assert spread_cameras(row, 1) == [4]
    # By hand: with 4, camera 1 makes the distances 1 0 1 1 0 1 2 3 4 (sum 13), as 7 does; 0, 2 and 3 leave more.
    assert spread_cameras(row, 3) == [4, 1, 7]
    assert spread_cameras(row, 2) == spread_cameras(row, 3)[:2]


def test_two_groups_of_cameras_have_one_each():
    left, right = [at(x, 0, 0) for x in (0.0, 0.1, 0.2)], [at(x, 0, 0) for x in (10.0, 10.1, 10.2)]
    assert sorted(index // 3 for index in spread_cameras([*left, *right], 2)) == [0, 1]


def test_the_choice_is_blind_to_the_unit_and_to_rounding():
    generator = torch.Generator().manual_seed(2)
    places = torch.rand(20, 3, generator=generator)
    chosen = spread_cameras([at(*place) for place in places.tolist()], 6)
    assert len(set(chosen)) == 6
    noisy = places * (1 + 1e-8)
    assert spread_cameras([at(*place) for place in (1000 * noisy).tolist()], 6) == chosen


def test_a_scene_leaves_them_to_the_router_and_keeps_its_size(tmp_path):
    scene = random_scene(tmp_path, cameras=8)
    left = with_router_cameras(scene, 2)
    assert left.router == (4, 2) and left.train == (1, 3, 5, 6, 7) and left.test == (0,)
    assert left.rig_radius == scene.rig_radius
    assert with_router_cameras(scene, 0) == scene
    with pytest.raises(SceneError, match=r"--router_cameras is 3, and the scene has 7 training cameras: .* give 2 or"):
        with_router_cameras(scene, 3)


def test_held_out_cameras_have_no_part_in_it(tmp_path):
    scene = random_scene(tmp_path, cameras=8)
    elsewhere = replace(scene.views[0], camera=at(100.0, 0, 0))
    moved = replace(scene, views=(elsewhere, *scene.views[1:]))
    assert with_router_cameras(moved, 2).router == with_router_cameras(scene, 2).router
