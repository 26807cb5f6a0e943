"""Experts on a GPU: the Gaussians and colours of the CPU, without waiting."""

from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch
from moegs_rasterizer import Camera, Splat, camera_rays

from benchmarks.trained_scenes import trained_like_scene
from experts import SPLATTED
from tests.experts.stg.test_stg import three_segments

pytestmark = pytest.mark.cuda

CAMERA = Camera(world_to_camera=torch.eye(4), fx=20.0, fy=20.0, cx=8.0, cy=6.0, width=16, height=12)
GAUSSIANS, _ = trained_like_scene(count=3000, width=64, height=48, seed=3)
MODELS = {
    **{name: lambda spec=spec: spec.random_model(GAUSSIANS) for name, spec in SPLATTED.items()},
    "STG in segments": three_segments,
    "STG full": lambda: three_segments("full"),
}


@torch.no_grad()
@pytest.mark.parametrize("camera", [None, 4])
@pytest.mark.parametrize("name", list(MODELS))
def test_gaussians_are_those_of_the_cpu(name, camera):
    torch.manual_seed(0)
    here = MODELS[name]().requires_grad_(False)
    expected = [here.at(frame, camera=camera) for frame in (2, 6.5)]
    there = copy.deepcopy(here).to("cuda")  # not `here`, whose parameters `expected` holds where nothing changes them
    there.at(2, camera=camera)  # what is made once is made now
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [there.at(frame, camera=camera) for frame in (2, 6.5)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for wanted, given in zip(expected, found, strict=True):
        for field in fields(wanted):
            a, b = getattr(wanted, field.name), getattr(given, field.name)
            assert (a is None) == (b is None)
            if a is not None:
                assert b.is_cuda
                torch.testing.assert_close(b.cpu(), a, atol=1e-4, rtol=1e-4)  # sums of 128 products, in any order


@torch.no_grad()
def test_the_full_stgs_colours_are_those_of_the_cpu():
    expert = three_segments("full")
    colour = torch.rand(9, 12, 16, generator=torch.Generator().manual_seed(1))
    plane = torch.zeros(12, 16)
    splat = Splat(colour=colour, features=None, alpha=plane, depth=plane, radii=plane, means2d=plane)
    wanted = expert.colour(splat, CAMERA, frame=3)
    on_gpu = Splat(colour=colour.cuda(), features=None, alpha=plane, depth=plane, radii=plane, means2d=plane)
    found = expert.to("cuda").colour(on_gpu, CAMERA, frame=3)
    torch.testing.assert_close(found.cpu(), wanted, atol=1e-5, rtol=1e-5)


def test_rays_are_made_where_they_are_wanted():
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = camera_rays(CAMERA, device=torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(found.cpu(), camera_rays(CAMERA), atol=1e-6, rtol=0)
