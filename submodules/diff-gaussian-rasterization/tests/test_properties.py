"""Properties of any scene: order, layers, channels and odd sizes do not matter where they should not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, Splat
from moegs_rasterizer.reference.oracle import select_rows
from torch import Tensor

from .backends import PLAYED, one_thread, rendered
from .scenes import camera_of, small_layer

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

# The same examples in every run: a float32 image may flip at a threshold in one of a million pixels.
few = settings(max_examples=8, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
rules = st.sampled_from(["exact", "inria"])
both = pytest.mark.parametrize("backend", PLAYED)


def render(layer: Layer, camera: Camera, backend: str) -> Splat:
    return rendered([layer], camera, backend)[0]


def tensors(splat: Splat) -> dict[str, Tensor]:
    return {field.name: value for field in fields(splat) if (value := getattr(splat, field.name)) is not None}


@both
@few
@given(seed=seeds, rule=rules)
def test_order_of_gaussians_does_not_matter(backend, seed, rule):
    layer = small_layer(60, seed, dtype=torch.float32, features=2, settings=RasterSettings(tile_rule=rule))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    shuffled = replace(layer, gaussians=select_rows(layer.gaussians, order), features=layer.features[order])
    first, second = (render(some, camera_of(35, 21), backend) for some in (layer, shuffled))
    for name, value in tensors(first).items():
        value = value[order] if name in ("radii", "means2d") else value
        torch.testing.assert_close(getattr(second, name), value, atol=1e-6, rtol=1e-6, msg=name)


@both
def test_equal_depths_keep_the_order_of_rows(backend):
    gaussians = small_layer(1, dtype=torch.float32).gaussians
    stack = replace(
        select_rows(gaussians, torch.zeros(20, dtype=torch.long)),
        means=torch.zeros(20, 3),
        scales=torch.ones(20, 3),
        opacities=torch.full((20,), 0.5),
        colours=torch.arange(20.0)[:, None],
    )
    layer = Layer(gaussians=stack, settings=RasterSettings(), background=torch.zeros(1))
    centre = render(layer, camera_of(8, 8), backend).colour[0, 4, 4]
    reverse = replace(layer, gaussians=select_rows(stack, torch.arange(19, -1, -1)))
    assert centre < 1.5  # the first rows lead: about sum of i / 2^(i + 1)
    assert render(reverse, camera_of(8, 8), backend).colour[0, 4, 4] > 17.5


@both
@few
@given(seed=seeds)
def test_layers_of_one_call_are_separate_calls_to_the_bit(backend, seed):
    conventions = [
        RasterSettings(),
        RasterSettings(tile_rule="inria", depth="median"),
        RasterSettings(low_pass=0.1, compensate=True, near=1.0, far=6.0, ndc_limit=1.3, depth="mean"),
    ]
    layers = [
        small_layer(20 + 15 * i, seed + i, dtype=torch.float32, sh=(0, 1, 16)[i], features=i, settings=convention)
        for i, convention in enumerate(conventions)
    ]
    camera = camera_of(33, 18)

    def run(groups: list[list[Layer]]) -> list[dict[str, Tensor]]:
        results = []
        for group in groups:
            leaves = [layer.gaussians.means.detach().requires_grad_() for layer in group]
            moved = [
                replace(layer, gaussians=replace(layer.gaussians, means=leaf))
                for layer, leaf in zip(group, leaves, strict=True)
            ]
            splats = rendered(moved, camera, backend, grad="full", deterministic=True)
            sum(splat.colour.square().sum() + splat.alpha.sum() for splat in splats).backward()
            results += [tensors(splat) | {"gradient": leaf.grad} for splat, leaf in zip(splats, leaves, strict=True)]
        return results

    for together, alone in zip(run([layers]), run([[layer] for layer in layers]), strict=True):
        for name, value in together.items():
            assert torch.equal(value, alone[name]), name


@both
@few
@given(seed=seeds, rule=rules)
def test_features_are_composited_like_colours(backend, seed, rule):
    layer = small_layer(40, seed, dtype=torch.float32, channels=3, features=14, settings=RasterSettings(tile_rule=rule))
    joined = torch.cat([layer.gaussians.colours, layer.features], dim=1)
    as_colours = replace(layer, gaussians=replace(layer.gaussians, colours=joined), features=None)
    camera = camera_of(30, 20)
    first, second = render(layer, camera, backend), render(as_colours, camera, backend)
    assert second.colour.shape == (17, 20, 30)
    assert second.features is None
    torch.testing.assert_close(torch.cat([first.colour, first.features]), second.colour, atol=1e-6, rtol=0)


@both
@few
@given(seed=seeds)
def test_pixels_are_convex_mixtures_of_colours_and_background(backend, seed):
    layer = small_layer(50, seed, dtype=torch.float32)
    splat = render(layer, camera_of(24, 24), backend)
    choices = torch.cat([layer.gaussians.colours, layer.background[None]])
    for channel in range(3):
        assert splat.colour[channel].min() >= choices[:, channel].min() - 1e-5
        assert splat.colour[channel].max() <= choices[:, channel].max() + 1e-5
    assert splat.alpha.min() >= 0
    assert splat.alpha.max() <= 1 - 1e-4 + 1e-6


def nothing(layer: Layer) -> Layer:
    none = torch.zeros(0, dtype=torch.long)
    return replace(layer, gaussians=select_rows(layer.gaussians, none), features=layer.features[none])


def behind(layer: Layer) -> Layer:
    return replace(layer, gaussians=replace(layer.gaussians, means=layer.gaussians.means - torch.tensor([0, 0, 50.0])))


def transparent(layer: Layer) -> Layer:
    return replace(layer, gaussians=replace(layer.gaussians, opacities=torch.zeros(layer.gaussians.count)))


@both
@pytest.mark.parametrize("empty", [nothing, behind, transparent])
@pytest.mark.parametrize(
    ("depth", "far", "expected"), [("sum", None, 0), ("mean", 9.0, 9), ("mean", None, 0), ("median", None, 15)]
)
def test_an_empty_image_is_the_background(backend, empty, depth, far, expected):
    convention = RasterSettings(depth=depth, far=far)
    layer = empty(small_layer(9, dtype=torch.float32, sh=4, features=2, settings=convention))
    leaf = layer.gaussians.means.detach().requires_grad_()
    layer = replace(layer, gaussians=replace(layer.gaussians, means=leaf))
    splat = rendered([layer], camera_of(20, 10), backend, grad="full")[0]
    assert torch.equal(splat.colour, layer.background[:3, None, None].expand(3, 10, 20))
    assert torch.equal(splat.features, layer.background[3:, None, None].expand(2, 10, 20))
    assert torch.equal(splat.alpha, torch.zeros(10, 20))
    assert torch.equal(splat.depth, torch.full((10, 20), float(expected)))
    assert torch.equal(splat.radii, torch.zeros(layer.gaussians.count, dtype=torch.int32))
    assert splat.means2d.shape == (layer.gaussians.count, 2)
    (splat.colour.sum() + splat.alpha.sum()).backward()
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@both
@few
@given(seed=seeds, rule=rules)
def test_one_pixel_is_the_corner_of_a_larger_image(backend, seed, rule):
    """With the field of view kept wide, so that the Jacobian's clamp, which follows the image size, stays idle."""
    layer = small_layer(30, seed, dtype=torch.float32, settings=RasterSettings(tile_rule=rule))
    wide = replace(camera_of(16, 16), fx=2.0, fy=2.0, cx=0.5, cy=0.5)
    layer = replace(layer, gaussians=replace(layer.gaussians, means=layer.gaussians.means * 0.2))
    large, small = render(layer, wide, backend), render(layer, replace(wide, width=1, height=1), backend)
    assert small.colour.shape == (3, 1, 1)
    torch.testing.assert_close(small.colour[:, 0, 0], large.colour[:, 0, 0], atol=1e-6, rtol=0)


@both
def test_one_gaussian_has_its_formula(backend):
    gaussians = Gaussians(
        means=torch.tensor([[0.0, 0.0, 2.0]]),
        scales=torch.full((1, 3), 0.1),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        opacities=torch.tensor([0.8]),
        colours=torch.tensor([[0.5]]),
    )
    camera = Camera(world_to_camera=torch.eye(4), fx=20, fy=20, cx=5.5, cy=4.5, width=11, height=9)
    splat = render(Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.ones(1)), camera, backend)
    variance = (20 * 0.1 / 2) ** 2 + 0.3
    y, x = torch.meshgrid(torch.arange(9) - 4.0, torch.arange(11) - 5.0, indexing="ij")
    alpha = 0.8 * torch.exp(-0.5 * (x * x + y * y) / variance)
    alpha = torch.where(alpha >= 1 / 255, alpha, 0)
    torch.testing.assert_close(splat.alpha, alpha, atol=1e-6, rtol=0)
    torch.testing.assert_close(splat.colour[0], 1 - 0.5 * alpha, atol=1e-6, rtol=0)
    torch.testing.assert_close(splat.depth, 2 * alpha, atol=2e-6, rtol=0)
    torch.testing.assert_close(splat.means2d.cpu(), torch.tensor([[5.0, 4.0]]), atol=1e-5, rtol=0)
    # 3DGS floors the eigenvalues' spread at sqrt(0.1), also of a round Gaussian.
    assert splat.radii.tolist() == [int(torch.tensor(9 * (variance + 0.1**0.5)).sqrt().ceil())]


@both
@pytest.mark.parametrize(
    ("mean", "seen"),
    [
        ((0, 0, 2.0), False),  # near: exclusive
        ((0, 0, 2.0001), True),
        ((0, 0, 4.0), True),  # far: inclusive
        ((0, 0, 4.0001), False),
        ((1.8, 0, 3.0), True),  # ndc 1.2
        ((1.9, 0, 3.0), False),  # ndc 1.27
        ((0, -1.9, 3.0), False),
    ],
)
def test_culling_planes(backend, mean, seen):
    gaussians = Gaussians(
        means=torch.tensor([mean], dtype=torch.float32),
        scales=torch.ones(1, 3),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        opacities=torch.tensor([0.8]),
        colours=torch.ones(1, 1),
    )
    convention = RasterSettings(near=2.0, far=4.0, ndc_limit=1.25)
    camera = Camera(world_to_camera=torch.eye(4), fx=8, fy=8, cx=4, cy=4, width=8, height=8)
    splat = render(Layer(gaussians=gaussians, settings=convention, background=torch.zeros(1)), camera, backend)
    assert bool(splat.radii[0] > 0) == seen
    assert bool(splat.alpha.max() > 0) == seen
