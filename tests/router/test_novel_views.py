"""Coverage: it limits gates, one background stands behind all experts, and holes take the colours around them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians

from experts.novel_views import novel_view_culling
from router.mixture import blend
from router.novel_views import (
    LEAST,
    fill_holes,
    holes,
    limited_by_coverage,
    little_covered,
    on_hole_colour,
    usual_coverage,
)


def gates(logits: list[float], alphas: list[float], temperature: float) -> list[float]:
    shape = (len(logits), 1, 1)
    limited = limited_by_coverage(
        torch.tensor(logits).view(shape), torch.tensor(alphas).view(shape), temperature=temperature
    )
    return blend(torch.zeros(len(logits), 3, 1, 1), limited, temperature=temperature).gates.flatten().tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_gates_are_the_routers_times_coverage(temperature):
    plain = torch.softmax(torch.tensor([0.4, -0.2, 1.0]) / temperature, 0)
    expected = plain * torch.tensor([1.0, 0.5, LEAST])
    limited = gates([0.4, -0.2, 1.0], [1.0, 0.5, 0.0], temperature)
    assert limited == pytest.approx((expected / expected.sum()).tolist(), abs=1e-6)


def test_experts_that_cover_alike_keep_the_routers_gates():
    plain = torch.softmax(torch.tensor([0.4, -0.2]), 0).tolist()
    for alpha in (1.0, 0.6, 0.0):
        assert gates([0.4, -0.2], [alpha, alpha], 1.0) == pytest.approx(plain, abs=1e-6)


def test_holes_are_what_no_expert_covers():
    alphas = torch.tensor([[0.0, 0.2, 0.3, 0.75, 0.0], [0.0, 0.5, 0.625, 0.4, 1.0]])[:, None]
    assert holes(alphas).tolist() == [[1.0, 1.0, 0.5, 0.0, 0.0]]


def test_gates_say_nothing_where_most_experts_have_nothing():
    """Holes by the mean opacity, beside the one that nearly all pixels of training views have."""
    alphas = torch.tensor([[0.8, 0.6, 0.5, 0.0, 1.0], [0.8, 0.6, 0.3, 0.1, 0.0]])[:, None]
    assert torch.allclose(little_covered(alphas, 0.8), torch.tensor([[0.0, 0.5, 1.0, 1.0, 0.75]]), atol=1e-6)
    assert little_covered(torch.zeros(2, 1, 1), 0.0).item() == 1.0
    assert little_covered(torch.full((2, 1, 1), 0.001), 0.0).item() == 0.0, "training views show the background, too"


def test_the_usual_coverage_is_what_nearly_all_pixels_reach():
    opaque, empty = torch.ones(2, 10, 100), torch.zeros(2, 10, 100)
    empty[:, :, 5:] = 0.9
    assert usual_coverage([opaque]) == 1.0
    assert usual_coverage([opaque, opaque, empty]) == pytest.approx(0.0)  # 1.7 % are empty
    empty[:, :, 1:] = 0.9
    assert usual_coverage([opaque, opaque, empty]) == pytest.approx(0.9)


def test_one_colour_stands_in_holes_alone():
    """An expert before black that is see-through beside an opaque one keeps its picture: it was trained like that."""
    experts = [SimpleNamespace(background=(0.0, 0.0, 0.0)), SimpleNamespace(background=(1.0, 1.0, 1.0))]
    experts.append(SimpleNamespace(background=(0.0,) * 9))
    alphas = torch.tensor([[0.4, 0.1, 0.0], [1.0, 0.2, 0.0], [0.9, 0.0, 0.0]])[:, None]
    images = torch.rand(3, 3, 1, 3, generator=torch.Generator().manual_seed(0))
    colour = torch.tensor([0.2, 0.4, 0.6])
    changed = on_hole_colour(images, alphas, experts, colour.tolist(), hole=holes(alphas))
    assert torch.equal(changed[..., 0], images[..., 0])
    shares = torch.tensor([0.9, 1.0])
    assert torch.allclose(changed[0, :, 0, 1:], images[0, :, 0, 1:] + colour[:, None] * shares)
    shares = torch.tensor([0.8, 1.0])
    assert torch.allclose(changed[1, :, 0, 1:], images[1, :, 0, 1:] + (colour - 1)[:, None] * shares)
    assert torch.equal(changed[2], images[2]), "nine channels are no colour"


def test_an_image_without_holes_keeps_its_values():
    image = torch.rand(3, 7, 5)
    assert torch.equal(fill_holes(image, torch.zeros(7, 5)), image)


def test_a_hole_in_one_colour_takes_that_colour():
    colour = torch.tensor([0.2, 0.5, 0.9])
    hole = torch.zeros(33, 18)
    hole[5:25, 3:15] = 1
    hole[0, 0] = 0.5
    image = torch.where(hole == 1, 1.0, colour[:, None, None].expand(3, 33, 18))
    assert torch.allclose(fill_holes(image, hole), colour[:, None, None].expand(3, 33, 18), atol=1e-5)


def test_a_hole_between_two_colours_is_between_them():
    hole = torch.zeros(32, 32)
    hole[:, 12:20] = 1
    image = torch.zeros(3, 32, 32)
    image[:, :, 20:] = 1
    filled = fill_holes(image, hole)
    row = filled[0, 16]
    assert torch.equal(filled[:, :, :12], image[:, :, :12]) and torch.equal(filled[:, :, 20:], image[:, :, 20:])
    assert float(row.min()) >= 0 and float(row.max()) <= 1
    assert float(row[12]) < 0.4 and float(row[19]) > 0.6 and float((row[1:] - row[:-1]).max()) < 0.75


def test_an_image_without_anything_stays_finite():
    assert torch.isfinite(fill_holes(torch.ones(3, 4, 4), torch.ones(4, 4))).all()


@pytest.mark.cuda
def test_a_gpu_follows_the_same_rules():
    generator = torch.Generator().manual_seed(0)
    count = 5000
    gaussians = Gaussians(
        means=torch.randn(count, 3, generator=generator),
        scales=torch.full((count, 3), 0.1),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        opacities=torch.rand(count, generator=generator),
        colours=torch.zeros(count, 3),
    )
    on_gpu = replace(
        gaussians,
        **{field: getattr(gaussians, field).cuda() for field in ("means", "scales", "quats", "opacities", "colours")},
    )
    cameras = [Camera(world_to_camera=torch.eye(4), fx=9, fy=9, cx=5, cy=5, width=10, height=10)]
    novel = replace(cameras[0], world_to_camera=torch.diag(torch.tensor([-1.0, 1, -1, 1])))
    here, there = (novel_view_culling(2.0, cameras, device=torch.device(name)) for name in ("cpu", "cuda"))
    culled = here.cull(gaussians, novel).opacities
    assert 0 < int((culled == 0).sum()) < count
    assert torch.equal(there.cull(on_gpu, novel).opacities.cpu(), culled)
    image, hole = torch.rand(3, 45, 30, generator=generator), torch.rand(45, 30, generator=generator)
    assert torch.allclose(fill_holes(image.cuda(), hole.cuda()).cpu(), fill_holes(image, hole), atol=1e-5)
