"""Raw Gaussians give the images and gradients of those that PyTorch has activated, on every back-end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
import torch
from moegs_rasterizer import Camera, RasterizerError, RawGaussians, RawLayer, Splat, rasterize
from moegs_rasterizer.activation import activated_layer
from torch import Tensor

from .backends import CUDA, KERNELS, PLAYED, one_thread, require
from .kernels_on_cpu import player
from .random_layers import layer_of

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

IMAGES = ("colour", "features", "alpha")


def raw_layer(*, sh_degree: int, count: int = 150, seed: int = 0, device: str = "cpu") -> tuple[RawLayer, Camera]:
    """A layer whose raw Gaussians are leaves."""
    layer, camera = layer_of(count, 50, 37, seed=seed, sh_degree=sh_degree, features=2)
    given = layer.gaussians

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().to(device).contiguous().requires_grad_()

    raw = RawGaussians(
        means=leaf(given.means),
        log_scales=leaf(given.scales.log()),
        quats=leaf(given.quats),
        opacity_logits=leaf(given.opacities.clamp(0.01, 0.99).logit()),
        sh_dc=leaf(given.sh[:, :1]),
        sh_rest=leaf(given.sh[:, 1:]),
    )
    background, features = leaf(layer.background), leaf(layer.features)
    return RawLayer(gaussians=raw, settings=layer.settings, background=background, features=features), camera


def leaves_of(layer: RawLayer) -> dict[str, Tensor]:
    leaves = {field.name: getattr(layer.gaussians, field.name) for field in fields(RawGaussians)}
    return {**leaves, "features": layer.features, "background": layer.background}


def run(layers: Sequence[object], camera: Camera, backend: str, **options: object) -> list[Splat]:
    call = player.rasterize if backend == KERNELS else rasterize
    return call(layers, camera, backend=backend, **options)


def gradients(splats: Sequence[Splat], layers: Sequence[RawLayer]) -> list[dict[str, Tensor]]:
    loss = sum(
        (image * torch.linspace(-1, 1, image.numel(), device=image.device).view_as(image)).sum()
        for splat in splats
        for image in (getattr(splat, name) for name in IMAGES)
    )
    leaves = [leaves_of(layer) for layer in layers]
    flat = [leaf for some in leaves for leaf in some.values()]
    found = iter(torch.autograd.grad(loss, flat, allow_unused=True))
    return [{name: next(found) for name in some} for some in leaves]


@pytest.mark.parametrize("backend", PLAYED)
@pytest.mark.parametrize("sh_degree", [0, 1, 2, 3])
def test_images_and_gradients_are_those_of_activated_gaussians(backend, sh_degree):
    device = "cuda" if require(backend) == "cuda" else "cpu"
    layer, camera = raw_layer(sh_degree=sh_degree, device=device)
    other, _ = raw_layer(sh_degree=3 - sh_degree, count=60, seed=1, device=device)
    layers = [layer, other]
    raw = run(layers, camera, backend, grad="full", deterministic=True)
    plain = run([activated_layer(one) for one in layers], camera, backend, grad="full", deterministic=True)
    # The host's own exponential, with which the kernels are played, is not PyTorch's.
    exact = backend != KERNELS
    for one, wanted in zip(raw, plain, strict=True):
        for name in (*IMAGES, "depth"):
            error = (getattr(one, name) - getattr(wanted, name)).detach().abs()
            assert not error.any() if exact else (error <= 2e-5).double().mean() >= 0.999, name
        assert torch.equal(one.radii, wanted.radii)
    for found, expected in zip(gradients(raw, layers), gradients(plain, layers), strict=True):
        for name, gradient in expected.items():
            if gradient.numel() == 0:
                continue
            assert gradient.norm() > 0, name
            error = (found[name] - gradient).norm()
            assert error == 0 if exact else error <= 1e-4 * gradient.norm(), name


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
def test_raw_and_activated_layers_in_one_call(backend):
    device = "cuda" if require(backend) == "cuda" else "cpu"
    layer, camera = raw_layer(sh_degree=2, device=device)
    mixed = run([activated_layer(layer), layer], camera, backend)
    alone = run([layer], camera, backend)[0]
    assert torch.equal(mixed[1].colour, alone.colour)
    assert (mixed[0].colour - mixed[1].colour).abs().median() < 1e-6
    assert not mixed[0].colour.requires_grad


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
def test_features_of_raw_layers_get_their_gradient_alone(backend):
    device = "cuda" if require(backend) == "cuda" else "cpu"
    layer, camera = raw_layer(sh_degree=1, device=device)
    full, features = (run([layer], camera, backend, grad=grad, deterministic=True)[0] for grad in ("full", "features"))
    assert torch.equal(features.features, full.features)
    (wanted,) = torch.autograd.grad(full.features.square().sum(), [layer.features])
    features.features.square().sum().backward()
    assert torch.equal(layer.features.grad, wanted)
    assert layer.gaussians.means.grad is None


@pytest.mark.parametrize("backend", ["cpu", KERNELS, CUDA])
@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("log_scales", (5, 2), "log_scales has shape [5, 2], expected [5, 3]"),
        ("opacity_logits", (5, 1), "opacity_logits has shape [5, 1], expected [5]"),
        ("sh_dc", (5, 3), "sh_dc has shape [5, 3], expected [5, 1, 3]"),
        ("sh_rest", (5, 4, 3), "sh_rest has 4 coefficients, expected 0, 3, 8 or 15 (degree 0 to 3)"),
        ("sh_rest", (4, 3, 3), "sh_rest has shape [4, 3, 3], expected [5, (degree + 1)^2 - 1, 3]"),
    ],
)
def test_wrong_shapes(backend, name, shape, message):
    device = "cuda" if require(backend) == "cuda" else "cpu"
    layer, camera = raw_layer(sh_degree=1, count=5, device=device)
    bad = replace(layer, gaussians=replace(layer.gaussians, **{name: torch.zeros(shape, device=device)}))
    with pytest.raises(RasterizerError) as caught:
        run([bad], camera, backend)
    assert str(caught.value) == f"layer 0: {message}"


@pytest.mark.parametrize("value", [float("nan"), 1000.0])
def test_bad_raw_values_are_seen_by_the_kernels(value):
    layer, camera = raw_layer(sh_degree=1, count=20)
    log_scales = layer.gaussians.log_scales.detach().clone()
    log_scales[7, 1] = value
    splat = run([replace(layer, gaussians=replace(layer.gaussians, log_scales=log_scales))], camera, KERNELS)[0]
    assert splat.colour.isnan().all()
    with pytest.raises(RasterizerError, match=r"^layer 0: scales has NaN or infinite values, first at row 7\b"):
        player.check()
