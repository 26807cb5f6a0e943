"""Ray maps are kept for the cameras of training, and for no other."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import camera_rays

from common.maths.tensors import constant
from router import rays
from router.rays import KeptRays
from tests.router.test_router import make_router, render
from tests.small_world import CloudExpert, camera

WHERE = {"dtype": torch.float32, "device": torch.device("cpu")}


def test_a_cameras_rays_are_made_once_and_are_those_of_camera_rays():
    kept = KeptRays()
    first = kept.of(camera(0), **WHERE)
    assert torch.equal(first, camera_rays(camera(0)))
    assert kept.of(camera(0), **WHERE) is first  # another object with the same values
    assert kept.of(camera(0), dtype=torch.float64, device=WHERE["device"]).dtype == torch.float64


@pytest.mark.parametrize("change", [{"fx": 9.0}, {"fy": 9.0}, {"cx": 1.0}, {"cy": 1.0}, {"width": 30}, {"height": 20}])
def test_another_camera_has_other_rays(change):
    kept, other = KeptRays(), replace(camera(0), **change)
    kept.of(camera(0), **WHERE)
    assert torch.equal(kept.of(other, **WHERE), camera_rays(other))


def test_a_camera_that_was_moved_in_place_has_other_rays():
    kept, moved = KeptRays(), camera(0)
    before = kept.of(moved, **WHERE)
    moved.world_to_camera[2, 3] += 1
    assert torch.equal(kept.of(moved, **WHERE), camera_rays(moved)) and not torch.equal(before, camera_rays(moved))


def test_those_asked_for_last_are_kept_as_long_as_they_fit(monkeypatch):
    made = []
    monkeypatch.setattr(rays, "camera_rays", lambda seen, **where: made.append(1) or camera_rays(seen, **where))
    kept = KeptRays(most=2 * camera_rays(camera(0)).nbytes)
    for number, count in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):  # the third camera takes the second's place
        kept.of(camera(number), **WHERE)
        assert len(made) == count
    large = camera(0, width=300)
    assert torch.equal(kept.of(large, **WHERE), camera_rays(large))  # larger than the bound: made every time
    assert kept._maps == {} and copy.deepcopy(kept)._most == kept._most


def test_training_keeps_rays_and_images_do_not(monkeypatch):
    experts = [CloudExpert("A", 1), CloudExpert("B", 2)]
    learner = make_router(experts)
    plain = render(learner, experts)
    assert not learner.rays._maps
    for _ in range(2):
        assert torch.equal(render(learner, experts, grad="features").image, plain.image)
    monkeypatch.setattr(rays, "camera_rays", None)  # not called any more
    assert torch.equal(render(learner, experts).image, plain.image)
    assert len(learner.rays._maps) == 1 and not copy.deepcopy(learner).rays._maps


def test_images_keep_the_rays_of_the_last_camera_alone(monkeypatch):
    made = []
    monkeypatch.setattr(rays, "camera_rays", lambda seen, **where: made.append(1) or camera_rays(seen, **where))
    kept = KeptRays()
    for number, count in ((0, 1), (0, 1), (1, 2), (0, 3)):
        assert torch.equal(kept.of_last(camera(number), **WHERE), camera_rays(camera(number)))
        assert len(made) == count
    assert kept.of(camera(1), **WHERE) is kept.of_last(camera(1), **WHERE) and len(made) == 4


def test_what_is_kept_in_inference_mode_serves_training():
    experts = [CloudExpert("A", 1), CloudExpert("B", 2)]
    learner = make_router(experts)
    constant.cache_clear()
    with torch.inference_mode():
        render(learner, experts)
        assert not learner.rays.of(camera(0), **WHERE).is_inference()
        assert not constant((1.0,), *WHERE.values()).is_inference()
    render(learner, experts, grad="features").image.sum().backward()
    assert all(parameter.grad is not None for parameter in learner.parameters())
