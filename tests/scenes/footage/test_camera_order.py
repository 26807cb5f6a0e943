"""Poses in another order than the images are found by the colours of the scene's points, with the right pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from scenes import Scene, SceneOptions, load_scene
from scenes.footage import check_frames
from scenes.footage.camera_order import PoseFits, fit_poses
from scenes.footage.shared_points import sightings
from scenes.points.cloud import PointCloud
from scenes.points.start import stored_start_points
from tests.scenes.footage.filmed_room import room


def ordered(scene: Scene, order: Sequence[int]) -> Scene:
    """A scene whose n-th camera has the pose of camera order[n]."""
    poses = [scene.views[index].camera for index in order]
    return replace(
        scene, views=tuple(replace(view, camera=pose) for view, pose in zip(scene.views, poses, strict=True))
    )


def fits_of(scene: Scene, cloud: PointCloud | None = None) -> PoseFits:
    cloud = cloud or stored_start_points(scene, source=None, frame=0)
    seen = sightings(cloud.positions, [view.camera for view in scene.views])
    images = [scene.frames.read(view, 0) for view in range(len(scene.views))]
    return fit_poses(cloud, seen, [view.name for view in scene.views], images)


@pytest.fixture
def filmed_room(tmp_path) -> Scene:
    return room(tmp_path, points=True)


def test_right_poses_fit_their_own_images_best(filmed_room):
    fits = fits_of(filmed_room)
    assert fits.warnings() == [] and fits.best == (0, 1, 2, 3, 4) and min(fits.own) > 0.4


def test_rotated_poses_are_told_with_their_pairs(filmed_room):
    checks = check_frames(ordered(filmed_room, [1, 2, 3, 4, 0]))
    assert checks.warnings[0].startswith(
        "cameras and images are in different orders: cam00's pose shows cam01's image, cam01's pose shows cam02's image"
    )
    assert all(row.colours is row.shared is None for row in checks.cameras), "measured at places that are not the same"


def test_two_poses_that_changed_places_are_told(filmed_room):
    (warning,) = fits_of(ordered(filmed_room, [0, 2, 1, 3, 4])).warnings()
    assert "cam01's pose shows cam02's image, cam02's pose shows cam01's image; rows of" in warning


def test_points_of_another_world_are_told(filmed_room):
    cloud = stored_start_points(filmed_room, source=None, frame=0)
    (warning,) = fits_of(filmed_room, replace(cloud, colours=cloud.colours.flip(0))).warnings()
    assert warning.startswith("the start points do not fit the images (median correlation")


def test_real_cameras_fit_and_rotated_ones_do_not(shared, tmp_path):
    root = shared("data/basketball")
    scene = load_scene(root, SceneOptions(cache=tmp_path, needed="none", progress=False, duration=1))
    count = len(scene.views)
    assert fits_of(scene).warnings() == []
    rotated = fits_of(ordered(scene, [*range(1, count), 0]))
    assert rotated.best == (*range(1, count), 0)
    assert rotated.warnings()[0].startswith("cameras and images are in different orders: cam00's pose shows cam01's")


def test_poses_that_look_the_other_way_are_told(filmed_room):
    back = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    views = tuple(
        replace(view, camera=replace(view.camera, world_to_camera=back @ view.camera.world_to_camera))
        for view in filmed_room.views
    )
    (warning,) = fits_of(replace(filmed_room, views=views)).warnings()
    assert warning.startswith("the start points are outside the images of cam00 and 4 more: the poses are inverted or")


@pytest.mark.parametrize("factor", [0.75, 1.15])
def test_focal_lengths_that_do_not_fit_are_told_with_the_factor(filmed_room, factor):
    views = tuple(
        replace(view, camera=replace(view.camera, fx=view.camera.fx / factor, fy=view.camera.fy / factor))
        for view in filmed_room.views
    )
    checks = check_frames(replace(filmed_room, views=views))
    assert f"the start points fit the images better with focal lengths x {factor:g}: mend" in checks.warnings[0]
