"""FreeTime's first Gaussians, from a textured box that moves before a wall."""

from __future__ import annotations

import logging
from dataclasses import fields, replace

import pytest
import torch

from experts.freetime.starts.first_gaussians import FreeTimeStart, free_time_start
from experts.freetime.starts.keyframes import apart, cloud_frames, spread_frames
from experts.training.start import StartPoints
from tests.experts.freetime.textured_box import (
    NUM_FRAMES,
    SMALL,
    STEP,
    BoxViews,
    box_at,
    box_start,
    box_texture,
    clouds,
    wall_depth,
    wall_points,
)


def rows_of(start: FreeTimeStart, rows) -> FreeTimeStart:
    return FreeTimeStart(**{field.name: getattr(start, field.name)[rows] for field in fields(FreeTimeStart)})


def halves(start: FreeTimeStart) -> tuple[FreeTimeStart, FreeTimeStart]:
    """Static and moving Gaussians."""
    return rows_of(start, start.gates > 0.5), rows_of(start, start.gates < 0.5)


def distances_from_box(means: torch.Tensor, frame: float) -> torch.Tensor:
    """Distance [n] of means from the front of the box at a frame."""
    offsets = (means - box_at(frame)).abs()
    return torch.cat([(offsets[:, :2] - SMALL).clamp(min=0), offsets[:, 2:]], dim=1).norm(dim=1)


@pytest.fixture(scope="module")
def swept() -> FreeTimeStart:
    return free_time_start(box_start(), count=6000, keyframe_every=5, velocities="zero")


def test_what_stands_still_is_half_and_stands_on_the_wall(swept):
    static, _ = halves(swept)
    points = wall_points()
    assert static.count == 3000
    assert torch.equal(static.means[:300], points.positions) and torch.equal(static.colours[:300], points.colours)
    assert static.opacities.tolist() == [pytest.approx(0.1)] * 300 + [pytest.approx(0.05)] * 2700
    copies = (static.means[300:, None] - points.positions).norm(dim=2).amin(1)
    assert 0.05 < copies.median() < 0.2 and (copies > 0.01).float().mean() > 0.9  # points are about 0.2 apart
    assert bool((static.times == 5).all()) and bool((static.durations == 3).all()) and not static.velocities.any()
    assert bool((static.gates == 0.9).all())
    assert torch.equal(static.scales[:, 0], static.scales[:, 2]) and 0.005 < static.scales.median() < 0.2


def test_a_sweep_finds_the_box_where_it_is_at_each_keyframe(swept):
    _, moving = halves(swept)
    assert 2800 < moving.count <= 3000
    keyframe = 5 * (moving.times / 5).round()
    assert set(keyframe.tolist()) == {0.0, 5.0, 10.0}
    assert (moving.times - keyframe).abs().median() > 0.8  # evenly spread within 2.5 frames
    for frame in (0, 5, 10):
        own = rows_of(moving, keyframe == frame)
        off = distances_from_box(own.means, frame)  # units of 40 px
        assert own.count > 900 and off.median() < 0.01 and (off > 0.1).float().mean() < 0.07
        expected = box_texture(own.means, box_at(frame)).T
        assert (expected - own.colours).abs().median() < 0.04
    assert torch.allclose(moving.durations, torch.tensor(3.0))  # 0.6 gaps
    assert bool((moving.opacities == 0.5).all()) and torch.allclose(moving.gates, torch.tensor(0.02))
    assert not moving.velocities.any()
    assert 0.005 < moving.scales.median() < 0.1 and moving.scales.max() < 0.5


def test_clouds_give_their_moving_points_and_velocities():
    points = clouds(of_box=20)  # a step is no longer than what is between them
    start = free_time_start(box_start(points=points), count=6000, keyframe_every=1)
    static, moving = halves(start)
    first = points.positions[points.frames == 0]
    assert static.count == 3000 and torch.equal(static.means[: len(first)], first)
    of_wall = (moving.means[:, 2] - wall_depth(moving.means[:, 0])).abs() < 0.1
    assert (~of_wall).sum() > 0.95 * NUM_FRAMES * 20
    assert of_wall.sum() < 0.02 * len(points.positions)  # close to the box's edges
    found = moving.velocities.norm(dim=1) > 0
    assert found[~of_wall].float().mean() > 0.3  # a step is as long as a spacing, and some colours are alike
    assert (moving.velocities[found & ~of_wall] - STEP).norm(dim=1).median() < 0.01
    assert torch.allclose(moving.durations, torch.tensor(2.0))
    off = [distances_from_box(mean[None], t) for mean, t in zip(moving.means, moving.times.tolist(), strict=True)]
    assert torch.cat(off)[found & ~of_wall].median() < 1e-3  # at their own moments, between frames


def test_a_small_budget_takes_some_points_of_all_keyframes_and_makes_them_larger(swept):
    small = free_time_start(box_start(), count=200, keyframe_every=5)
    static, moving = halves(small)
    assert static.count == moving.count == 100
    assert bool((static.opacities == 0.1).all())  # no copies
    keyframes = (moving.times / 5).round()
    assert min((keyframes == number).sum() for number in range(3)) > 10
    growth = moving.scales.median() / halves(swept)[1].scales.median()
    assert growth == pytest.approx((halves(swept)[1].count / 100) ** 0.5, rel=0.3)


def test_a_clip_in_which_nothing_moves_is_all_static(caplog):
    caplog.set_level(logging.INFO)
    still = free_time_start(box_start(views=BoxViews(moving=False)), count=700, keyframe_every=5)
    assert still.count == 700 and bool((still.gates == 0.9).all())
    assert 'moving points from "sweep"' in caplog.text and "nothing found that moves" in caplog.text
    asked = free_time_start(box_start(), count=700, moving="none", has_gates=False)
    assert asked.count == 700 and not asked.gates.any() and bool((asked.durations == 3 * NUM_FRAMES).all())
    few = free_time_start(box_start(), count=120, moving="none")
    assert few.count == 120 and len(few.means.unique(dim=0)) == 120


def test_models_without_gates_have_none(swept):
    start = free_time_start(box_start(), count=6000, keyframe_every=5, velocities="zero", has_gates=False)
    assert start.count == swept.count and not start.gates.any()
    assert torch.equal(start.means, swept.means)
    assert bool((start.durations[:3000] == 3 * NUM_FRAMES).all()) and bool((start.durations[3000:] == 3).all())


def test_the_same_seed_gives_the_same(swept):
    again = free_time_start(box_start(), count=6000, keyframe_every=5, velocities="zero")
    other = free_time_start(box_start(), count=6000, keyframe_every=5, velocities="zero", seed=4)
    for field in fields(FreeTimeStart):
        assert torch.equal(getattr(again, field.name), getattr(swept, field.name)), field.name
    assert not torch.equal(other.times, swept.times)


def test_what_was_found_is_logged(caplog):
    caplog.set_level(logging.INFO)
    free_time_start(box_start(points=clouds()), count=6000, keyframe_every=5)
    assert "3,000 Gaussians that stand still, 2,520 of them jittered copies" in caplog.text
    assert 'from "clouds"' in caplog.text and "at 3 keyframes" in caplog.text


def test_what_cannot_be_is_refused_or_left_out():
    with pytest.raises(ValueError, match="no start points"):
        free_time_start(box_start(points=StartPoints(positions=torch.zeros(0, 3), colours=torch.zeros(0, 3))), count=9)
    with pytest.raises(ValueError, match='"clouds" need start points of several frames'):
        free_time_start(box_start(), count=9, moving="clouds")
    with pytest.raises(ValueError, match="need two cameras that stand apart"):
        free_time_start(box_start(views=BoxViews(cameras=1)), count=9, moving="sweep")
    with pytest.raises(ValueError, match="a clip of 3 frames or more, found 2"):
        free_time_start(box_start(views=BoxViews(num_frames=2)), count=9, moving="sweep")
    with pytest.raises(ValueError, match="1 Gaussians"):
        free_time_start(box_start(), count=1)
    for views in (BoxViews(num_frames=1), BoxViews(cameras=1)):
        assert free_time_start(box_start(views=views), count=400).count == 400
        assert not views.read


def test_keyframes_reach_from_the_first_frame_to_the_last():
    assert spread_frames(150, 10)[:2] == [0, 10] and spread_frames(150, 10)[-1] == 149
    assert len(spread_frames(150, 10)) == 16 and spread_frames(1, 10) == [0]
    assert spread_frames(11, 5) == [0, 5, 10] and spread_frames(4, 10) == [0, 3]
    assert apart([0, 1, 2, 5, 6, 9], 3) == [0, 5, 9]
    assert cloud_frames(replace(clouds(), frames=clouds().frames + 300), NUM_FRAMES) == []
    assert cloud_frames(clouds(), 4) == [0, 1, 2, 3] and cloud_frames(wall_points(), 4) == []
