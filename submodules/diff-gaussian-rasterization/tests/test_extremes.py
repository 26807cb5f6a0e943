"""Values at the end of float32's range: back-ends agree, and gradients are finite or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError, RasterSettings, rasterize

from .backends import COMPILED, CUDA, KERNELS, on, one_thread, rendered
from .random_layers import PLANES, double, gradients_of, layer_of, run, tensors_of, with_tensors

pytestmark = pytest.mark.usefixtures(one_thread.__name__)


@pytest.mark.parametrize("backend", ["torch", *COMPILED, KERNELS])
@pytest.mark.parametrize("rule", ["exact", "inria"])
@pytest.mark.parametrize("scale", [1e9, 1e15])
def test_huge_scales_agree_with_float64(scale, rule, backend):
    layer, camera = layer_of(30, 50, 37, settings=RasterSettings(tile_rule=rule))
    scales = layer.gaussians.scales.clone()
    scales[::3] = scale
    scales[1::6, 0] = scale
    layer = replace(layer, gaussians=replace(layer.gaussians, scales=scales))
    found = run([layer], camera, backend=backend, deterministic=True)
    right = run([double(layer)], camera, backend="torch")
    assert torch.equal(found.splats[0].radii, right.splats[0].radii)
    for name in PLANES:
        wanted = getattr(right.splats[0], name)
        assert (getattr(found.splats[0], name) - wanted).abs().max() <= 2e-6 * wanted.abs().max(), name
    for name, wanted in gradients_of(right, 0).items():
        assert (gradients_of(found, 0)[name] - wanted).norm() <= 1e-4 * wanted.norm(), name


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("grad", ["features", "full"])
@pytest.mark.parametrize("value", [3.4e38, float("nan")])
def test_gradients_that_are_not_finite_are_refused_by_name(value, grad, backend):
    layer, camera = layer_of(60, 40, 27, features=2)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors_of(layer).items()}
    splat = rendered([with_tensors(layer, leaves)], camera, backend, grad=grad)[0]
    with pytest.raises(RasterizerError, match=r"^layer 0: the gradient of \w+ has NaN or infinite values; look at"):
        splat.features.backward(torch.full_like(splat.features, value))


@pytest.mark.parametrize("backend", ["torch", "cpu"])
def test_large_gradients_that_are_finite_are_given(backend):
    layer, camera = layer_of(60, 40, 27, features=2)
    features = layer.features.clone().requires_grad_()
    splat = rendered([replace(layer, features=features)], camera, backend, grad="full")[0]
    splat.features.backward(torch.full_like(splat.features, 1e36))
    assert features.grad.isfinite().all()
    assert features.grad.max() > 1e36


@pytest.mark.parametrize("backend", ["torch", "cpu", CUDA])
@pytest.mark.parametrize("side", ["width", "height"])
@pytest.mark.parametrize("size", [65536, 2**31, 10**40])
def test_images_of_more_than_65535_pixels_a_side_are_refused(size, side, backend):
    layer, camera = layer_of(3, 8, 8)
    with pytest.raises(
        RasterizerError, match=rf"^camera: {side} is \d+, expected a whole number of pixels from 1 to 65"
    ):
        rasterize([on(backend, layer)], replace(camera, **{side: size}), backend=backend)
