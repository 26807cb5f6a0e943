"""`cov3D_precomp`: the images of scales and rotations, and exact gradients whatever the covariance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Layer, RasterizerError
from moegs_rasterizer.inria import GaussianRasterizer
from torch import Tensor

from ..backends import BACKENDS, on, one_thread, require
from ..golden.golden_files import KINDS, read_golden
from ..golden.original_gradients import TOLERANCE, distance, leaves, with_leaves
from ..scenes import camera_of, small_layer
from .inria_calls import arguments_of, call, covariances_of, inria_gradients, settings_of

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

NAMES = [f"inria_{kind}" for kind in KINDS]
SHAPES = {
    "ball": (0.3, 0.3, 0.3),  # all eigenvalues equal: a rotation has no gradient
    "disc": (0.3, 0.3, 0.1),
    "flat": (0.4, 0.2, 0.0),
    "needle": (0.002, 0.8, 0.002),
    "point": (0.002, 0.002, 0.002),
}


def shaped(layer: Layer, scales: tuple[float, float, float]) -> Layer:
    chosen = layer.gaussians.scales.new_tensor(scales).expand(layer.gaussians.count, 3)
    return replace(layer, gaussians=replace(layer.gaussians, scales=chosen))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_recorded_images_and_gradients(shared, references, name, backend):
    """Covariances made of scales and rotations by autograd: their gradients are the recorded ones."""
    original, quirky, true = references(name)
    golden = read_golden(shared("reference/raster"), name, torch.float32)
    leaf = leaves(golden)
    made = call(with_leaves(golden, leaf), golden.camera, backend, covariances=True)
    error = (made.colour - golden.tensor("out_color")).abs().amax(0)
    assert (error <= 1e-5).float().mean() >= 0.999
    assert error.max() <= 0.01
    assert torch.equal(made.radii, golden.tensor("out_radii"))

    computed = inria_gradients(made, leaf, golden.tensor("grad_out"))
    for tensor, expected in original.items():
        assert distance(computed[tensor], expected - quirky[tensor] + true[tensor]) <= TOLERANCE, tensor


@pytest.mark.parametrize("name", NAMES)
def test_float64_gradients_are_those_of_scales_and_rotations(shared, name):
    golden = read_golden(shared("reference/raster"), name, torch.float64)
    by_covariances, expected = {}, {}
    for gradients, covariances in ((by_covariances, True), (expected, False)):
        leaf = leaves(golden)
        made = call(with_leaves(golden, leaf), golden.camera, "torch", covariances=covariances)
        gradients |= inria_gradients(made, leaf, golden.tensor("grad_out"))
    for tensor in expected:
        assert distance(by_covariances[tensor], expected[tensor]) <= 1e-13, tensor  # seen: 5.6e-15


@pytest.mark.parametrize("shape", SHAPES)
def test_the_image_is_that_of_scales_and_rotations(shape):
    layer, camera = shaped(small_layer(60), SHAPES[shape]), camera_of(40, 32, shift=(5, -3))
    by_covariances, expected = (call(layer, camera, "torch", covariances=given) for given in (True, False))

    assert (by_covariances.colour - expected.colour).abs().max() <= 1e-12  # seen: 2.5e-14
    assert torch.equal(by_covariances.radii, expected.radii)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_the_slopes_of_the_image(shape):
    """Finite differences by covariances and means, of Gaussians ahead and behind."""
    layer, camera = shaped(small_layer(6, seed=3, sh=4), SHAPES[shape]), camera_of(18, 16, shift=(2, -1))
    settings, weights = settings_of(camera, layer.background, sh_degree=1), torch.rand(3, 16, 18, dtype=torch.float64)
    given = arguments_of(layer.gaussians) | {"scales": None, "rotations": None}

    def loss(means: Tensor, covariances: Tensor) -> Tensor:
        image = GaussianRasterizer(settings)(**(given | {"means3D": means, "cov3D_precomp": covariances}))[0]
        return (image * weights).sum()

    inputs = (layer.gaussians.means.clone(), covariances_of(layer.gaussians))
    torch.autograd.gradcheck(loss, [tensor.requires_grad_() for tensor in inputs], atol=1e-5)


def test_the_scale_modifier_leaves_covariances_alone():
    camera, layer = camera_of(24, 20), small_layer(20)
    made = [call(layer, camera, "torch", covariances=True, scale_modifier=factor) for factor in (1.0, 2.0)]

    assert torch.equal(made[0].colour, made[1].colour)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rounding_may_make_a_long_covariance_indefinite(backend):
    layer = shaped(small_layer(40, dtype=torch.float32), (0.001, 2e4, 0.001))
    six = covariances_of(layer.gaussians)
    assert torch.linalg.eigvalsh(six[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)).min() < -1

    means = layer.gaussians.means.clone().requires_grad_()
    moved = replace(layer, gaussians=replace(layer.gaussians, means=means))
    made = call(moved, camera_of(24, 20), backend, covariances=True)
    gradients = inria_gradients(made, {"means": means}, torch.ones(3, 20, 24))
    assert (made.radii > 0).any()
    assert made.colour.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_what_is_no_covariance_is_refused(backend, value):
    layer = on(require(backend), small_layer(5, dtype=torch.float32))
    given = arguments_of(layer.gaussians) | {"scales": None, "rotations": None}
    covariances = covariances_of(layer.gaussians)
    covariances[3, 0] = value
    rasterizer = GaussianRasterizer(settings_of(camera_of(20, 18), layer.background, debug=True), backend=backend)
    message = "scales" if backend == "cuda" else "cov3D_precomp is no covariance in 1 rows, first at row 3"
    with pytest.raises(RasterizerError, match=message):
        rasterizer(**(given | {"cov3D_precomp": covariances}))


def test_a_wrong_shape_is_refused():
    layer = small_layer(5)
    given = arguments_of(layer.gaussians) | {"scales": None, "rotations": None, "cov3D_precomp": torch.zeros(5, 3, 3)}
    with pytest.raises(RasterizerError, match=r"cov3D_precomp has shape \[5, 3, 3\], expected \[5, 6\]"):
        GaussianRasterizer(settings_of(camera_of(20, 18), layer.background))(**given)
