"""Plane sweep: depths of a box before a slanted wall, both textured, rendered without a rasterizer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import max_pool2d

from experts.freetime.starts.motion_masks import MaskedView
from experts.freetime.starts.plane_sweep import Sweep, depth_map, nearest_cameras, sweep
from tests.experts.freetime.textured_box import (
    BOX,
    HALF,
    HEIGHT,
    SHIFTS,
    SLANT,
    WIDTH,
    box_texture,
    camera,
    picture,
    wall_depth,
)

LIMITS = (1.8, 7.0)


def views(shifts: tuple[float, ...] = SHIFTS, **options) -> list[MaskedView]:
    """Images in which the box moves, and 3 px around it, as motion would show it."""
    seen = []
    for shift in shifts:
        image, box = picture(camera(shift), **options)
        mask = max_pool2d(box.float()[None], 7, stride=1, padding=3)[0] > 0
        seen.append(MaskedView(camera=camera(shift), image=image, moving=mask, mask=mask))
    return seen


def test_points_lie_on_the_moving_box():
    seen = views()
    found = sweep(seen, [LIMITS] * 3)
    masked = sum(int(view.moving.sum()) for view in seen)
    assert len(found.positions) > 0.6 * masked
    assert found.views.bincount(minlength=3).min() > 0.5 * masked / 3
    on_box = ((found.positions - BOX)[:, :2].abs() < HALF + 0.03).all(1)
    error = (found.positions[:, 2] / BOX[2] - 1).abs()
    assert error[on_box].median() < 0.01
    on_wall = (found.positions[:, 2] / wall_depth(found.positions[:, 0]) - 1).abs() < 0.05
    wrong = ~(on_box & (error < 0.05)) & ~on_wall
    assert wrong.float().mean() < 0.05
    colours = box_texture(found.positions).T
    good = on_box & (error < 0.02)
    assert (colours - found.colours)[good].abs().median() < 0.03


def test_depths_of_a_slanted_wall():
    seen = [replace(view, moving=torch.ones_like(view.moving)) for view in views()]
    depths = depth_map(seen[1], [seen[0], seen[2]], LIMITS, Sweep())
    wall = torch.ones_like(depths, dtype=torch.bool)
    wall[views()[1].moving] = False
    columns = (torch.arange(WIDTH) + 0.5 - 58) / 110
    expected = (4.5 / (1 - SLANT * columns)).expand(HEIGHT, WIDTH)
    sure = wall & (depths > 0)
    error = (depths / expected - 1).abs()[sure]
    assert sure.sum() > 0.6 * wall.sum() and error.median() < 0.01 and (error > 0.05).float().mean() < 0.05


def test_nothing_is_found_where_there_is_no_texture_no_motion_or_no_neighbour():
    plain = [replace(view, moving=~view.moving) for view in views(plain_wall=True)]
    assert len(sweep(plain, [LIMITS] * 3).positions) < 0.02 * sum(int(view.moving.sum()) for view in plain)
    empty = [replace(view, moving=torch.zeros_like(view.moving)) for view in views()]
    nothing = sweep(empty, [LIMITS] * 3)
    assert nothing.positions.shape == nothing.colours.shape == (0, 3) and nothing.views.shape == (0,)
    assert len(sweep(views((0.0,)), [LIMITS]).positions) == 0


def test_two_views_suffice_and_agree_with_each_other():
    found = sweep(views((-0.15, 0.15)), [LIMITS] * 2)
    error = (found.positions[:, 2] / BOX[2] - 1).abs()
    assert len(found.positions) > 500 and error.median() < 0.01


def test_neighbours_stand_near_and_look_the_same_way():
    opposite = torch.diag(torch.tensor([-1.0, 1, -1, 1]))
    rig = [camera(0.0), camera(1.0), camera(0.4), camera(-0.5), replace(camera(0.0), world_to_camera=opposite)]
    assert nearest_cameras(rig, 2) == [[2, 3], [2, 0], [0, 1], [0, 2], []]
    assert nearest_cameras([camera(0.0), camera(0.0)], 2) == [[], []]  # they show no depth


def test_cameras_too_close_to_each_other_find_nothing_and_wrong_limits_are_refused():
    assert len(sweep(views((-0.005, 0.005)), [LIMITS] * 2).positions) == 0
    with pytest.raises(ValueError, match="from depth 0 to 7: give 0 < nearest < farthest"):
        sweep(views((0.0,)), [(0.0, 7.0)])
