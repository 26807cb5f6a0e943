"""STG's first Gaussians: which points are kept, where their windows are; what is culled by place; presets."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera

from experts.stg.culling import bounding_box, outside, stands_close
from experts.stg.presets import SCENE_TABLES, stg_recipe
from experts.stg.recipe import THINNINGS, STGRecipe
from experts.stg.start import new_stg, thinned_indices
from experts.training.gaussians.initial import SH_0
from experts.training.gaussians.visibility import near_limits
from experts.training.recipes.recipe import Density, scaled_recipe
from experts.training.start import StartPoints

PLACE = {"near": 0.1, "far": 50.0, "extent": 2.0}
MOMENTS, PER_MOMENT = 12, 8


def cloud(frames: list[float] | None = None) -> StartPoints:
    """A line of points at each of twelve frames from 0 on, with wider gaps at its end."""
    line = torch.arange(PER_MOMENT).float() ** 2
    moments = torch.arange(MOMENTS).float() if frames is None else torch.tensor(frames)
    x, t = line.repeat(len(moments)), moments.repeat_interleave(PER_MOMENT)
    positions = torch.stack([x, t, torch.full_like(x, 5.0)], dim=1)
    return StartPoints(positions=positions, colours=(positions / 100).clamp(0, 1), frames=t)


@pytest.mark.parametrize(("number", "whole", "kept"), [(0, range(12), 8), (3, [0], 2), (8, [0, 4, 8], 2)])
def test_thinning_keeps_whole_moments_and_the_loneliest_of_others(number, whole, kept):
    points = cloud()
    counts = Counter(points.frames[thinned_indices(points.positions, points.frames, THINNINGS[number])].tolist())
    assert counts == {moment: PER_MOMENT if moment in whole else kept for moment in range(MOMENTS)}
    rows = thinned_indices(points.positions, points.frames, THINNINGS[number])
    others = rows[~torch.isin(points.frames[rows], torch.tensor(list(whole)).float())]
    assert set(points.positions[others, 0].tolist()) <= {36.0, 49.0}  # the two behind the widest gaps


@pytest.mark.parametrize(("number", "moments"), [(14, range(0, 12, 2)), (15, [0, 4, 8]), (16, [0, 8]), (17, [0])])
def test_thinning_keeps_every_so_many_th_moment_alone(number, moments):
    points = cloud()
    frames = points.frames[thinned_indices(points.positions, points.frames, THINNINGS[number])]
    assert Counter(frames.tolist()) == dict.fromkeys(map(float, moments), PER_MOMENT)


def test_a_segment_starts_from_its_own_frames_points_at_their_moments():
    recipe = STGRecipe(thinning=THINNINGS[0], trbf_log_width=-2.0)
    model = new_stg(cloud(), recipe, first=4, num_frames=5, **PLACE)
    (segment,) = model.parts
    assert (segment.first, segment.num_frames, model.near, model.far) == (4, 5, 0.1, 50.0)
    frames = 4 + 5 * segment.trbf_centres
    assert Counter(frames.round().tolist()) == dict.fromkeys([4.0, 5.0, 6.0, 7.0, 8.0], PER_MOMENT)
    assert torch.allclose(segment.means[:, 1], frames, atol=1e-5)  # seen 0
    assert torch.equal(segment.trbf_log_widths, torch.full((40,), -2.0))
    assert torch.allclose(segment.sh_dc[:, 0] * SH_0 + 0.5, (segment.means / 100).clamp(0, 1), atol=1e-6)
    assert not segment.sh_rest.any() and not segment.motion.any() and not segment.omegas.any()
    assert torch.allclose(segment.opacity_logits.sigmoid(), torch.tensor(0.1))
    assert segment.log_scales.max().item() == pytest.approx(math.log(2.0 * math.e / 6.5))  # the gaps are wider
    assert torch.allclose(model.at(6).quats, torch.tensor([1.0, 0, 0, 0]))


@pytest.mark.parametrize("frames", [None, [0.0], [300.0, 310.0]])
def test_points_that_tell_no_time_are_spread_over_the_segment(frames):
    points = cloud([0.0] * 50) if frames is None else cloud([frames[0]] * 49 + frames[-1:])
    if frames is None:
        points = replace(points, frames=None)
    recipe = STGRecipe(trbf_log_width=-2.0)
    first, again = (new_stg(points, recipe, first=0, num_frames=10, **PLACE, seed=3).parts[0] for _ in range(2))
    centres = first.trbf_centres.detach()
    assert len(centres) == points.count and torch.equal(centres, again.trbf_centres)
    counts = torch.histc(centres, 4, min=0, max=1)
    assert counts.min() > 0.8 * points.count / 4  # seen 0.95
    assert not first.trbf_log_widths.any()  # as long as the segment, though the recipe has shorter ones


def test_half_of_the_largest_number_is_room_for_training():
    recipe = STGRecipe(thinning=THINNINGS[0], density=Density(max_gaussians=40))
    assert new_stg(cloud(), recipe, first=0, num_frames=12, **PLACE).num_gaussians == 20
    empty = StartPoints(positions=torch.zeros(0, 3), colours=torch.zeros(0, 3))
    with pytest.raises(ValueError, match="no start points"):
        new_stg(empty, recipe, first=0, num_frames=12, **PLACE)


def camera(z: float) -> Camera:
    pose = torch.eye(4)
    pose[2, 3] = -z
    return Camera(world_to_camera=pose, fx=10, fy=10, cx=5, cy=5, width=10, height=10)


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_what_stands_close_before_a_camera_is_found_in_worlds_of_any_scale(unit):
    means = unit * torch.tensor([[0.0, 0, 9], [0, 0, 12], [1, 0, 12], [0, 0, 3.5], [3, 0, 3.5], [0, 0, -1]])
    cameras = [camera(0.0), camera(0.5 * unit)]
    limits = near_limits(means, cameras, 1 / 3)
    assert torch.allclose(limits, unit * torch.tensor([3.0, 8.5 / 3]), rtol=1e-5)
    close = stands_close(means, cameras, near_limits(means, cameras, 0.4))
    assert close.tolist() == [False, False, False, True, False, True]  # the fifth is in no image, the last behind all
    assert near_limits(means[5:], cameras, 1 / 3).tolist() == [0.0, 0.0]
    opposite = torch.diag(torch.tensor([-1.0, 1, -1, 1]))
    opposite[2, 3] = 20 * unit
    across = [*cameras, replace(cameras[0], world_to_camera=opposite)]
    limits = near_limits(means, across, 0.4)
    assert stands_close(means, across, limits).tolist() == [False] * 6  # from there all of it is far off


def test_the_box_of_the_first_means_with_its_margin():
    box = bounding_box(torch.tensor([[0.0, 0, 3], [1, 2, 0]]), 0.1)
    assert torch.allclose(box, torch.tensor([[-0.1, -0.2, -0.3], [1.1, 2.2, 3.3]]))
    means = torch.tensor([[0.5, 1, 1], [-0.09, 2.19, 3.29], [0.5, 2.3, 1], [-0.11, 1, 1]])
    assert outside(means, box).tolist() == [False, False, True, True]


def test_presets_scale_with_their_length():
    for dataset, scenes in SCENE_TABLES.items():
        for scene in (*scenes, "another"):
            recipe = stg_recipe(dataset, scene)
            short = scaled_recipe(recipe, recipe.iterations // 10)
            assert short.iterations == recipe.iterations // 10 and short.rate_iterations == 3000
            assert short.guidance.start == 160 and short.prune_stop == recipe.prune_stop // 10
            assert short.densifications == recipe.densifications
    hard, easy = stg_recipe("n3v", "coffee_martini"), stg_recipe("n3v", "sear_steak")
    assert (hard.box_cull, hard.turning_stop, hard.iterations) == (None, 9000, 10000)
    assert (easy.box_cull, easy.turning_stop, easy.iterations) == (10000, None, 30000)
    rig = stg_recipe("technicolor", "Painter")
    assert (rig.near_cull, rig.turning_start, rig.trbf_log_width) == (False, None, pytest.approx(-2.0))
    assert rig.rates["segments.0.log_scales"].first == 5e-3 and rig.thinning == THINNINGS[0]
