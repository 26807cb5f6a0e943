"""Plane sweep: depths of a box before a slanted wall, both textured, rendered without a rasterizer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera

from experts.freetime.plane_sweep import (
    Sweep,
    SweepView,
    depth_map,
    nearest_cameras,
    reduced_camera,
    reduced_image,
    sweep,
)

WIDTH, HEIGHT = 112, 84
LIMITS = (1.8, 7.0)
BOX, HALF = torch.tensor([0.1, -0.1, 2.6]), torch.tensor([0.5, 0.4])  # middle of its front, half its sides


def camera(shift: float) -> Camera:
    """Looks at the box from a place on a line; +-0.3 turn it by about 7 degrees."""
    angle = torch.tensor(0.4 * shift)
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = angle.cos()
    pose[0, 2], pose[2, 0] = angle.sin(), -angle.sin()
    pose[:3, 3] = -pose[:3, :3] @ torch.tensor([shift, 0.1 * shift, 0.0])
    return Camera(world_to_camera=pose, fx=110, fy=105, cx=58, cy=40, width=WIDTH, height=HEIGHT)


def texture(x: torch.Tensor, y: torch.Tensor, seed: int) -> torch.Tensor:
    """Colours [3, ...] of a surface: waves of about 5 to 20 px in an image."""
    waves = torch.Generator().manual_seed(seed)
    total = torch.zeros(3, *x.shape)
    for _ in range(24):
        angle, phase, size = (6.3 * torch.rand((), generator=waves) for _ in range(3))
        frequency, colour = 12 + 4 * size, torch.randn(3, generator=waves)
        total += colour[:, None, None] * torch.sin(frequency * (angle.cos() * x + angle.sin() * y) + phase)
    return (0.5 + 0.06 * total).clamp(0, 1)


def wall_depth(x: torch.Tensor) -> torch.Tensor:
    return 4.5 + 0.4 * x


def scene(seen_from: Camera, *, plain_wall: bool = False) -> SweepView:
    """An image, in whose mask the box is, as motion would show it, and 3 px around it."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    local = torch.stack([(columns - seen_from.cx) / seen_from.fx, (rows - seen_from.cy) / seen_from.fy], dim=-1)
    rays = torch.cat([local, torch.ones_like(rows)[..., None]], dim=-1) @ seen_from.world_to_camera[:3, :3]
    start = seen_from.centre
    on_box = start + rays * ((BOX[2] - start[2]) / rays[..., 2])[..., None]
    on_wall = start + rays * ((wall_depth(start[0]) - start[2]) / (rays[..., 2] - 0.4 * rays[..., 0]))[..., None]
    box = ((on_box - BOX)[..., :2].abs() < HALF).all(-1)
    wall = texture(on_wall[..., 0], on_wall[..., 1], 1)
    if plain_wall:
        wall = torch.full_like(wall, 0.4)
    image = torch.where(box, texture(on_box[..., 0], on_box[..., 1], 2), wall)
    mask = torch.nn.functional.max_pool2d(box.float()[None], 7, stride=1, padding=3)[0] > 0
    return SweepView(camera=seen_from, image=image, mask=mask)


def views(shifts: tuple[float, ...] = (-0.3, 0.0, 0.3), **options) -> list[SweepView]:
    return [scene(camera(shift), **options) for shift in shifts]


def test_points_lie_on_the_moving_box():
    seen = views()
    found = sweep(seen, [LIMITS] * 3)
    masked = sum(int(view.mask.sum()) for view in seen)
    assert len(found.positions) > 0.6 * masked
    assert found.views.bincount(minlength=3).min() > 0.5 * masked / 3
    on_box = ((found.positions - BOX)[:, :2].abs() < HALF + 0.03).all(1)
    error = (found.positions[:, 2] / BOX[2] - 1).abs()
    assert error[on_box].median() < 0.01
    on_wall = (found.positions[:, 2] / wall_depth(found.positions[:, 0]) - 1).abs() < 0.05
    wrong = ~(on_box & (error < 0.05)) & ~on_wall
    assert wrong.float().mean() < 0.05
    colours = texture(found.positions[:, 0, None], found.positions[:, 1, None], 2)[..., 0].T
    good = on_box & (error < 0.02)
    assert (colours - found.colours)[good].abs().median() < 0.03


def test_depths_of_a_slanted_wall():
    seen = [replace(view, mask=torch.ones_like(view.mask)) for view in views()]
    depths = depth_map(seen[1], [seen[0], seen[2]], LIMITS, Sweep())
    wall = torch.ones_like(depths, dtype=torch.bool)
    wall[views()[1].mask] = False
    columns = (torch.arange(WIDTH) + 0.5 - 58) / 110
    expected = (4.5 / (1 - 0.4 * columns)).expand(HEIGHT, WIDTH)
    sure = wall & (depths > 0)
    error = (depths / expected - 1).abs()[sure]
    assert sure.sum() > 0.6 * wall.sum() and error.median() < 0.01 and (error > 0.05).float().mean() < 0.05


def test_nothing_is_found_where_there_is_no_texture_no_mask_or_no_neighbour():
    plain = [replace(view, mask=~view.mask) for view in views(plain_wall=True)]
    assert len(sweep(plain, [LIMITS] * 3).positions) < 0.02 * sum(int(view.mask.sum()) for view in plain)
    empty = [replace(view, mask=torch.zeros_like(view.mask)) for view in views()]
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


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_reduced_camera_sees_the_reduced_image(factor):
    small = reduced_camera(camera(0.1), factor)
    image = torch.rand(3, HEIGHT, WIDTH)
    reduced = reduced_image(image, factor)
    assert reduced.shape == (3, small.height, small.width)
    assert torch.allclose(reduced[:, 1, 2], image[:, factor : 2 * factor, 2 * factor : 3 * factor].mean((1, 2)))
    assert small.cx * factor == pytest.approx(58) and small.fy * factor == pytest.approx(105)
