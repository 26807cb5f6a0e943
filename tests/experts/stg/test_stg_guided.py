"""STG's guided sampling: which views, which pixels, where the new Gaussians are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from moegs_rasterizer import Camera

from experts.stg.guided import GuidedSampling, bad_pixels, gaussians_along_rays, largest_depth
from experts.stg.recipe import Guidance
from experts.training.gaussians.badly_shown import along_rays
from experts.training.gaussians.initial import SH_0
from experts.training.samplers import Sample

WIDTH, HEIGHT, PATCH = 160, 96, 16
BAD = (slice(32, 64), slice(48, 96))  # rows and columns: two by three patches
GUIDANCE = Guidance(start=10, stop=50, apart=5)


def pose() -> torch.Tensor:
    angle = torch.tensor(0.4)
    matrix = torch.eye(4)
    matrix[0, 0] = matrix[2, 2] = angle.cos()
    matrix[0, 2], matrix[2, 0] = angle.sin(), -angle.sin()
    matrix[:3, 3] = torch.tensor([0.3, -0.2, 1.0])
    return matrix


CAMERA = Camera(world_to_camera=pose(), fx=120, fy=110, cx=75, cy=50, width=WIDTH, height=HEIGHT)


def seen(view: int = 0, *, bad: bool = True):
    """An image that agrees with the truth, or but for a block and single pixels."""
    generator = torch.Generator().manual_seed(0)
    target = 0.2 + 0.6 * torch.rand(3, HEIGHT, WIDTH, generator=generator)
    image = target.clone()
    if bad:
        image[:, BAD[0], BAD[1]] = 1 - image[:, BAD[0], BAD[1]] + 0.3
        image[:, ::7, ::5] += 0.5
    alpha = torch.full((HEIGHT, WIDTH), 0.3)
    alpha[:, :80], alpha[:5] = 0.1, 0.0
    depth = torch.full((HEIGHT, WIDTH), 4.0)
    depth[:, :80], depth[:5] = 9.0, 300.0
    splat = SimpleNamespace(alpha=alpha, depth=depth)
    return SimpleNamespace(sample=Sample(view=view, frame=0), camera=CAMERA, image=image, target=target, splat=splat)


def sample(one, *, room: int | None = None, largest: float = 4.0, far: float = 300.0):
    return gaussians_along_rays(
        one,
        GUIDANCE,
        largest=torch.tensor(largest),
        means=torch.tensor([[0.0, 0, 3]]),
        far=far,
        extent=5.0,
        log_width=-0.5,
        room=room,
        generator=torch.Generator().manual_seed(1),
    )


def test_pixels_of_bad_patches_alone_less_a_quarter():
    pixels = bad_pixels(seen().image, seen().target, GUIDANCE)
    inside = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    inside[BAD] = True
    inside[::2, ::2] = False
    assert torch.equal(pixels, inside.nonzero())
    assert len(bad_pixels(seen(bad=False).image, seen().target, GUIDANCE)) == 0
    brighter = 0.5 * seen().target
    assert len(bad_pixels(brighter, seen().target, GUIDANCE)) < 0.1 * inside.sum()  # exposure alone: seen 0


def test_no_pixels_at_the_border():
    target = torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(0))
    image = target.clone()
    image[:, :, :17] += 1.0
    pixels = bad_pixels(image, target, GUIDANCE)
    assert len(pixels) > 0 and pixels[:, 1].min() == 7 and pixels[:, 1].max() == 15
    assert pixels[:, 0].min() == 5 and pixels[:, 0].max() == 44


def test_new_gaussians_stand_on_the_rays_of_bad_pixels_with_true_colours():
    one = seen()
    rows = sample(one)
    pixels = bad_pixels(one.image, one.target, GUIDANCE)
    assert len(rows["means"]) == 2 * len(pixels)
    local = rows["means"] @ CAMERA.world_to_camera[:3, :3].T + CAMERA.world_to_camera[:3, 3]
    shown = local[:, :2] / local[:, 2:] * torch.tensor([120.0, 110.0]) + torch.tensor([75.0, 50.0]) - 0.5
    expected = pixels.flip(1).float().repeat(2, 1)
    assert torch.allclose(shown, expected, atol=1e-3)  # seen 1.2e-5
    near, far = local[:, 2].chunk(2)
    for depths, middle in ((near, 2.8), (far, 30.0)):
        assert ((depths / middle - 1).abs() < 0.0501).all() and (depths / middle - 1).abs().max() > 0.045
    colours = one.target[:, pixels[:, 0], pixels[:, 1]].T.repeat(2, 1)
    assert torch.allclose(rows["sh_dc"][:, 0] * SH_0 + 0.5, colours, atol=1e-6)
    assert torch.equal(rows["quats"][:, 0], torch.ones(len(near) * 2)) and not rows["quats"][:, 1:].any()
    assert rows["trbf_centres"].min() < 0.1 and rows["trbf_centres"].max() > 0.9
    assert (rows["trbf_log_widths"] == -0.5).all()
    spacing = rows["log_scales"][:, 0].exp().chunk(2)
    assert 5 < spacing[1].median() / spacing[0].median() < 20  # pixels are 10.7 times as wide there; seen 10.8


def test_none_beyond_the_far_plane_and_none_without_depth():
    local = sample(seen(), far=6.0)["means"] @ CAMERA.world_to_camera[:3, :3].T + CAMERA.world_to_camera[:3, 3]
    assert local[:, 2].max() < 6.0 and local[:, 2].max() > 5.0
    assert len(sample(seen(), largest=0.0)["means"]) == 0
    assert len(sample(seen(bad=False))["means"]) == 0


def test_no_more_than_there_is_room_for():
    assert len(sample(seen(), room=101)["means"]) == 100
    assert len(sample(seen(), room=0)["means"]) == 0


def test_largest_depth_of_what_is_sure():
    assert largest_depth(seen().splat).item() == 4.0
    empty = SimpleNamespace(alpha=torch.zeros(4, 4), depth=torch.full((4, 4), 300.0))
    assert largest_depth(empty).item() == 0.0


def test_rays_go_through_the_centres_of_pixels():
    plain = Camera(world_to_camera=torch.eye(4), fx=10, fy=10, cx=2, cy=1, width=4, height=2)
    points = along_rays(torch.tensor([[1, 3]]), torch.tensor([[2.0]]), plain)
    assert points.flatten().tolist() == pytest.approx([0.3, 0.1, 2.0])


def test_the_worst_views_are_sampled_once_each_and_apart():
    guided = GuidedSampling(GUIDANCE, views=4, device=torch.device("cpu"))
    images = [seen(0), seen(1, bad=False), seen(2), seen(3)]
    images[2].image = images[2].image * 0.5  # the worst of them
    images[0].image = images[0].image * 0.8
    for one in images:
        guided.look(one, 1)
    assert guided.chosen is None and guided.depths.tolist() == [4.0] * 4
    for iteration, one in enumerate(images, 10):
        assert not guided.wants(one, iteration)
        guided.look(one, iteration)
    assert guided.chosen == [2, 0]
    state = guided.state()
    assert not guided.wants(images[3], 14) and guided.wants(images[2], 15)
    assert not guided.wants(images[0], 19) and not guided.wants(seen(0, bad=False), 20)
    assert guided.wants(images[0], 50) and not guided.wants(images[2], 50) and guided.chosen == []
    other = GuidedSampling(GUIDANCE, views=4, device=torch.device("cpu"))
    other.load(state)
    assert other.chosen == [2, 0] and not other.wants(images[2], 51) and other.wants(images[2], 30)


def test_no_view_is_chosen_where_one_alone_is_bad():
    guided = GuidedSampling(GUIDANCE, views=2, device=torch.device("cpu"))
    guided.look(seen(0), 10)
    guided.look(seen(1, bad=False), 10)
    assert guided.chosen == []
