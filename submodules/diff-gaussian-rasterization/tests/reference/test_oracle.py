"""The PyTorch back-end against the rule written pixel by pixel, finite differences, and itself in other batches."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, Splat, rasterize
from moegs_rasterizer.reference import blending
from torch import Tensor

from ..backends import PLAYED, one_thread, rendered
from ..scenes import Output, camera_of, small_layer
from .pixel_rule import output_by_rule

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

EX4DGS = {"low_pass": 0.1, "compensate": True, "near": 1.0, "far": 5.5, "ndc_limit": 1.3}
CONVENTIONS = [
    pytest.param(RasterSettings(tile_rule=rule, depth=depth, **options), id=f"{rule}-{depth}-{name}")
    for rule in ("exact", "inria")
    for depth, name, options in (("sum", "inria", {}), ("median", "inria", {}), ("mean", "ex4dgs", EX4DGS))
]


@pytest.mark.parametrize("backend", PLAYED)
@pytest.mark.parametrize("size", [(16, 12), (37, 21)])
@pytest.mark.parametrize("settings", CONVENTIONS)
def test_every_output_follows_the_rule(settings, size, backend):
    follows_the_rule(
        small_layer(40, seed=3, features=2, settings=settings), camera_of(*size, shift=(1.5, -2.0)), backend
    )


@pytest.mark.parametrize("backend", PLAYED)
@pytest.mark.parametrize("rule", ["exact", "inria"])
def test_pixels_that_are_opaque_see_no_more_and_the_faint_is_not_seen(rule, backend):
    layer = small_layer(40, seed=3, features=2, settings=RasterSettings(tile_rule=rule))
    opacities = torch.full_like(layer.gaussians.opacities, 0.97)
    opacities[::7] = 0.9 / 255
    layer = replace(layer, gaussians=replace(layer.gaussians, scales=4 * layer.gaussians.scales, opacities=opacities))
    seen = follows_the_rule(layer, camera_of(16, 12), backend)
    assert (seen.alpha > 0.999).mean() > 0.15  # seen: 0.22; where one more would leave less than 1e-4
    assert rule == "inria" or (seen.radii[::7] == 0).all()


def follows_the_rule(layer: Layer, camera: Camera, backend: str) -> Output:
    """A layer in float64, which back-ends but PyTorch's get in float32; returns what the rule gives."""
    dtype = torch.float64 if backend == "torch" else torch.float32
    splat = rendered([in_type(layer, dtype)], camera, backend)[0]
    expected = output_by_rule(layer, camera)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    np.testing.assert_array_equal(splat.radii.numpy(), expected.radii)
    for name in ("colour", "features", "alpha", "depth"):
        values = getattr(splat, name).double().numpy()
        np.testing.assert_allclose(values, getattr(expected, name), atol=tolerance, rtol=0, err_msg=name)
    return expected


def in_type(layer: Layer, dtype: torch.dtype) -> Layer:
    given = layer.gaussians
    tensors = {field.name: getattr(given, field.name) for field in fields(given)}
    converted = {name: None if tensor is None else tensor.to(dtype) for name, tensor in tensors.items()}
    return replace(
        layer,
        gaussians=replace(given, **converted),
        features=layer.features.to(dtype),
        background=layer.background.to(dtype),
    )


def smooth_layer(settings: RasterSettings, sh: int) -> Layer:
    """Three Gaussians, wide and half transparent: far from every threshold at every pixel of a 6x5 image."""
    draw = torch.Generator().manual_seed(5)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=draw, dtype=torch.float64)

    gaussians = Gaussians(
        means=uniform(-0.4, 0.4, 3, 3) + torch.tensor([0, 0, 1.0]) * torch.arange(3)[:, None] * 0.3,
        scales=uniform(0.7, 1.2, 3, 3),
        quats=uniform(-0.5, 0.5, 3, 4) + torch.tensor([0.8, 0, 0, 0], dtype=torch.float64),
        opacities=uniform(0.3, 0.6, 3),
        sh=uniform(0.1, 0.3, 3, sh, 3) if sh else None,
        colours=None if sh else uniform(0.2, 0.9, 3, 2),
    )
    channels = gaussians.colour_channels
    return Layer(
        gaussians=gaussians,
        settings=settings,
        background=uniform(0, 1, channels + 2),
        features=uniform(0, 1, 3, 2),
    )


def mixed(splat: Splat) -> Tensor:
    """Four random sums of all outputs: they see every entry of the Jacobian, at a hundredth of its price."""
    outputs = torch.cat([splat.colour, splat.features, splat.alpha[None]]).flatten()
    draw = torch.Generator().manual_seed(0)
    return torch.rand(4, len(outputs), generator=draw, dtype=torch.float64) @ outputs


@pytest.mark.parametrize("rule", ["exact", "inria"])
@pytest.mark.parametrize("compensate", [False, True])
def test_gradients_are_finite_differences(rule, compensate):
    settings = RasterSettings(tile_rule=rule, low_pass=0.1 if compensate else 0.3, compensate=compensate)
    layer = smooth_layer(settings, sh=0)
    given = layer.gaussians
    inputs = [given.means, given.scales, given.quats, given.opacities, given.colours, layer.features, layer.background]

    def render(means, scales, quats, opacities, colours, features, background):
        gaussians = Gaussians(means=means, scales=scales, quats=quats, opacities=opacities, colours=colours)
        moved = Layer(gaussians=gaussians, settings=settings, background=background, features=features)
        return mixed(rasterize([moved], camera_of(6, 5, shift=(0.5, 0.2)), grad="full", backend="torch")[0])

    assert torch.autograd.gradcheck(render, [tensor.clone().requires_grad_() for tensor in inputs])


@pytest.mark.parametrize("count", [1, 4, 9, 16])
def test_gradients_through_spherical_harmonics_are_finite_differences(count):
    layer = smooth_layer(RasterSettings(), sh=count)

    def render(means, sh):
        moved = replace(layer, gaussians=replace(layer.gaussians, means=means, sh=sh))
        return mixed(rasterize([moved], camera_of(6, 5), grad="full", backend="torch")[0])

    inputs = [layer.gaussians.means, layer.gaussians.sh]
    assert torch.autograd.gradcheck(render, [tensor.clone().requires_grad_() for tensor in inputs])


def test_gradient_beyond_the_jacobian_clamp_is_exact():
    gaussians = Gaussians(
        means=torch.tensor([[3.4, 0.2, 0.0]], dtype=torch.float64),
        scales=torch.full((1, 3), 1.5, dtype=torch.float64),
        quats=torch.tensor([[1.0, 0.1, 0.2, 0.0]], dtype=torch.float64),
        opacities=torch.tensor([0.7], dtype=torch.float64),
        colours=torch.ones(1, 1, dtype=torch.float64),
    )
    camera = camera_of(6, 5, turned=False)
    assert 1.3 * camera.width / (2 * camera.fx) < 3.4 / 4

    def render(means):
        layer = Layer(
            gaussians=replace(gaussians, means=means), settings=RasterSettings(), background=torch.zeros(1).double()
        )
        return rasterize([layer], camera, grad="full", backend="torch")[0].colour

    assert render(gaussians.means).max() > 0.05
    assert torch.autograd.gradcheck(render, gaussians.means.clone().requires_grad_())


def test_no_gradient_where_alpha_is_clamped():
    opacity = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    gaussians = Gaussians(
        means=torch.zeros(1, 3, dtype=torch.float64),
        scales=torch.full((1, 3), 50.0, dtype=torch.float64),
        quats=torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64),
        opacities=opacity,
        colours=torch.ones(1, 1, dtype=torch.float64),
    )
    layer = Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.zeros(1).double())
    splat = rasterize([layer], camera_of(4, 4), grad="full", backend="torch")[0]
    assert torch.equal(splat.colour, torch.full_like(splat.colour, 0.99))
    splat.colour.sum().backward()
    assert opacity.grad.tolist() == [0.0]


@pytest.mark.parametrize("backend", PLAYED)
def test_screen_space_gradient_is_that_of_moving_the_image(backend):
    """Moving every 2D mean by e pixels moves the image: d loss / d e is the sum of the screen-space gradients."""
    dtype = torch.float64 if backend == "torch" else torch.float32
    layer = small_layer(30, seed=1, dtype=dtype)
    means = layer.gaussians.means.requires_grad_()
    camera = camera_of(24, 20)
    weights = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    splat = rendered([layer], camera, backend, grad="full")[0]
    splat.means2d.retain_grad()
    (splat.colour * weights).sum().backward()

    step = 1e-4
    fine = small_layer(30, seed=1)
    left, right = (
        rasterize([fine], replace(camera, cx=camera.cx + side * step), backend="torch")[0].colour for side in (-1, 1)
    )
    slope = float(((right - left) * weights).sum() / (2 * step))
    assert means.grad.isfinite().all()
    assert float(splat.means2d.grad[:, 0].sum()) == pytest.approx(slope, rel=2e-3)


@pytest.mark.parametrize("pairs", [700, 5000])
def test_batches_do_not_change_the_result(monkeypatch, pairs):
    layer = small_layer(60, seed=2, features=3)
    camera = camera_of(40, 33)

    def run() -> tuple[Tensor, ...]:
        means = layer.gaussians.means.clone().requires_grad_()
        moved = replace(layer, gaussians=replace(layer.gaussians, means=means))
        splat = rasterize([moved], camera, grad="full", backend="torch")[0]
        (splat.colour.square().sum() + splat.features.sum() + splat.alpha.square().sum()).backward()
        return splat.colour, splat.features, splat.alpha, splat.depth, means.grad

    whole = run()
    monkeypatch.setattr(blending, "PAIRS_PER_BATCH", pairs)
    for batched, expected in zip(run(), whole, strict=True):
        torch.testing.assert_close(batched, expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("backend", PLAYED)
def test_grad_says_what_gets_a_gradient(backend):
    def run(grad: str):
        layer = small_layer(20, dtype=torch.float32, features=2)
        given = layer.gaussians
        leaves = [given.means, given.scales, given.quats, given.opacities, given.colours, layer.background]
        for leaf in (*leaves, layer.features):
            leaf.requires_grad_()
        splat = rendered([layer], camera_of(20, 16), backend, grad=grad)[0]
        if splat.features.requires_grad:
            (splat.colour.sum() + splat.features.sum() + splat.alpha.sum()).backward()
        assert not splat.depth.requires_grad
        return splat, [leaf.grad is not None for leaf in leaves], layer.features.grad

    splat, reached, features = run("none")
    assert not splat.colour.requires_grad
    assert not any(reached)
    assert features is None
    splat, reached, features = run("features")
    assert not any(reached)
    full = run("full")
    assert all(full[1])
    torch.testing.assert_close(features, full[2], atol=1e-5, rtol=1e-5)


def test_float32_and_float64_agree():
    camera = camera_of(40, 30)
    for rule in ("exact", "inria"):
        settings = RasterSettings(tile_rule=rule)
        coarse, fine = (
            rasterize([small_layer(200, 4, dtype=dtype, sh=16, settings=settings)], camera, backend="torch")[0]
            for dtype in (torch.float32, torch.float64)
        )
        torch.testing.assert_close(coarse.colour.double(), fine.colour, atol=2e-5, rtol=0)
