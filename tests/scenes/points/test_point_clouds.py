"""Point clouds: cleaned, thinned, drawn at random, and seen by cameras."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scenes import SceneError
from scenes.points.cloud import PointCloud, cleaned, thinned
from scenes.points.random import random_points
from scenes.points.visibility import project, suggest_near, views_of, visible_depths
from tests.scenes.small_rigs import (
    AROUND,
    FORWARD,
    load,
    places,
    scene_of,
    trained,
)


def test_repeated_and_broken_points_are_dropped(tmp_path):
    positions = torch.from_numpy(places(5)).clone()
    positions[3], positions[1, 2] = positions[0], math.nan
    colours = torch.arange(15).reshape(5, 3) / 15
    cloud = PointCloud(positions=positions, colours=colours, frames=None, note="made")
    found = cleaned(cloud)
    assert torch.equal(found.positions, positions[[0, 2, 4]]) and torch.equal(found.colours, colours[[0, 2, 4]])
    assert found.note == "made; dropped 1 point with values that are not finite; dropped 1 repeated point"
    moving = PointCloud(positions=positions, colours=colours, frames=torch.arange(5.0), note="made")
    assert cleaned(moving).frames.tolist() == [0, 2, 3, 4], "the same place at two frames is no repetition"


def uneven(seed: int = 0) -> PointCloud:
    """5000 points in a ball, 200 spread over a hundred times its volume and one far away."""
    rng = np.random.default_rng(seed)
    ball, spread = rng.normal(size=(5000, 3)), rng.uniform(-10, 10, (200, 3))
    positions = torch.from_numpy(np.concatenate([ball, spread, [[1000.0, 0, 0]]])).float()
    return PointCloud(positions=positions, colours=positions.abs() / 1000, frames=None, note="made")


@pytest.mark.parametrize("limit", [1, 50, 1000, 5200])
def test_thinning_keeps_as_many_as_it_may(limit):
    cloud = uneven()
    found = thinned(cloud, limit)
    # seen: 0.94 to 1; one point less can empty several voxels at once
    assert 0.9 * limit <= found.count <= limit
    assert torch.equal(found.colours, found.positions.abs() / 1000), "colours changed places"
    assert torch.equal(found.positions, thinned(cloud, limit).positions)


def test_thinning_is_even():
    cloud = uneven()
    found = thinned(cloud, 1000)
    assert found.positions[:, 0].max() == 1000
    spread = found.positions.norm(dim=1) > 5
    assert spread.sum() > 0.9 * (cloud.positions.norm(dim=1) > 5).sum(), "sparse places lost points"
    assert torch.pdist(found.positions[~spread]).median() > torch.pdist(cloud.positions[:1000]).median()


def test_frames_are_thinned_apart():
    one = thinned(uneven(), 300)
    twice = PointCloud(
        positions=uneven().positions.repeat(2, 1),
        colours=uneven().colours.repeat(2, 1),
        frames=torch.tensor([7.0, 2.0]).repeat_interleave(5201),
        note="made",
    )
    both = thinned(twice, 600)
    assert both.frames.tolist() == [7] * one.count + [2] * one.count
    assert torch.equal(both.positions, one.positions.repeat(2, 1))
    with pytest.raises(SceneError, match="at most 1 start points asked for, of 2 frames"):
        thinned(twice, 1)


@pytest.mark.parametrize("kind", [FORWARD, AROUND])
def test_random_points_lie_where_two_cameras_look(tmp_path, kind):
    scene = scene_of(tmp_path / "room", kind)
    cloud = load(scene, limit=500, frames=[3])
    assert cloud.count == 500 and (views_of(cloud.positions, trained(scene)) >= 2).all()
    assert torch.equal(cloud.positions, load(scene, limit=500, frames=[3]).positions)
    assert not torch.equal(cloud.positions, load(scene, limit=500, seed=1).positions)
    place, colour = cloud.positions[:1], cloud.colours[0, 0]
    shown = [20 * view + 3 for view in scene.train if project(place, scene.views[view].camera)[2].item()]
    assert colour.item() == pytest.approx(np.mean(shown) / 255, abs=1e-6)


@pytest.mark.parametrize("kind", [FORWARD, AROUND])
def test_random_points_grow_with_the_scene(tmp_path, kind):
    small, large = (
        random_points(scene_of(tmp_path / "room", kind, scale=scale), frame=0, count=300, seed=0)
        for scale in (1.0, 1000.0)
    )
    torch.testing.assert_close(large.positions, small.positions * 1000, rtol=1e-4, atol=1e-2)


def test_random_points_around_a_place_are_about_it(tmp_path):
    cloud = random_points(scene_of(tmp_path / "room", AROUND), frame=0, count=2000, seed=0)
    assert "ball of radius 1.25" in cloud.note and cloud.positions.norm(dim=1).max() <= 1.25
    assert cloud.positions.mean(0).norm() < 0.1


def test_random_points_of_a_forward_rig_lie_between_the_bounds(tmp_path):
    scene = scene_of(tmp_path / "room")
    rows = np.zeros((8, 17))
    rows[:, 15:] = [2.0, 6.0]
    rows[3, 15:] = [0.01, 1e9]
    np.save(scene.root / "poses_bounds.npy", rows)
    depths = random_points(scene, frame=0, count=2000, seed=0).positions[:, 2]
    assert 2 <= depths.min() < 2.1 and 5.5 < depths.max() <= 6
    assert 2.6 < depths.median() < 3.8, "not more of them near"
    rows[:, 15] = 0
    np.save(scene.root / "poses_bounds.npy", rows)
    guessed = random_points(scene, frame=0, count=2000, seed=0)
    assert guessed.positions[:, 2].max() > 6, "bounds that make no sense were used"


def test_near_planes_follow_the_scene(tmp_path):
    scene = scene_of(tmp_path / "room")
    positions = torch.from_numpy(places(400))
    camera = scene.views[4].camera
    inside = positions[project(positions, camera)[2]]
    assert torch.equal(visible_depths(positions, [camera]), inside[:, 2]) and 0 < len(inside) <= 400
    lone = torch.cat([positions, torch.tensor([[0.0, 0.0, 1e-3]])])
    for scale in (1.0, 1e-3):
        scaled = trained(scene_of(tmp_path / "room", scale=scale))
        cloud = PointCloud(positions=lone * scale, colours=torch.zeros(401, 3), frames=None, note="")
        # A single stray point at 0.001 does not count; 1 % of the others are nearer than 2.53.
        assert 1.25 * scale <= suggest_near(cloud, scaled) < 1.3 * scale
    behind = PointCloud(positions=-positions, colours=torch.zeros(400, 3), frames=None, note="")
    assert suggest_near(behind, trained(scene)) == 0


def test_cameras_without_a_common_view(tmp_path):
    scene = scene_of(tmp_path / "room", scale=0.0)
    with pytest.raises(SceneError, match="stand in one place"):
        load(scene, limit=10)
    scene = scene_of(tmp_path / "room", scale=1000.0)
    rows = np.zeros((8, 17))
    rows[:, 15:] = [1.0, 2.0]
    np.save(scene.root / "poses_bounds.npy", rows)
    with pytest.raises(SceneError, match="no two training cameras see the same place"):
        load(scene, limit=10)
    with pytest.raises(SceneError, match="0 start points asked for"):
        load(scene, limit=0)
