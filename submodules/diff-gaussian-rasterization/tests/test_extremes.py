"""Values at the end of float32's range: back-ends agree, and gradients are finite or refused."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import RasterizerError, RasterSettings, cuda, rasterize
from moegs_rasterizer.cpu import backend as cpu_backend
from moegs_rasterizer.cuda.reports import Mailbox

from .backends import COMPILED, CUDA, KERNELS, on, one_thread, rendered
from .kernels_on_cpu import player
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


def check(backend: str) -> None:
    """Raise what the GPU, or the one that is played, has seen."""
    (player.check if backend == KERNELS else cuda.check)()


REFUSED = (
    r"^layer {}: the gradient of {} has NaN or infinite values; look at the loss, or scale it down \(seen by the GPU"
)


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("grad", ["features", "full"])
@pytest.mark.parametrize("value", [3.4e38, float("nan")])
def test_a_gpu_refuses_gradients_that_are_not_finite_with_the_next_call(value, grad, deterministic, backend):
    layer, camera = layer_of(60, 40, 27, features=2)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors_of(layer).items()}
    given = [layer, with_tensors(layer, leaves)]
    splat = rendered(given, camera, backend, grad=grad, deterministic=deterministic)[1]
    splat.features.backward(torch.full_like(splat.features, value))
    with pytest.raises(RasterizerError, match=REFUSED.format(1, r"\w+")):
        check(backend)
    rendered([layer], camera, backend)
    check(backend)


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
@pytest.mark.parametrize("name", ["means", "scales", "quats", "opacities", "sh", "features", "background"])
def test_a_gpu_names_the_gradient_that_is_not_finite_if_it_was_asked_for(name, backend):
    layer, camera = layer_of(60, 40, 27, features=2, sh_degree=2)
    tensors = tensors_of(layer)
    leaf = tensors[name].clone().requires_grad_()
    splats = rendered([*[layer] * 12, with_tensors(layer, {**tensors, name: leaf})], camera, backend, grad="full")
    (splats[12].colour.sum() + splats[12].features.sum()).mul(3e38).backward()
    assert not leaf.grad.isfinite().all()
    with pytest.raises(RasterizerError, match=REFUSED.format(12, name)):
        check(backend)


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
def test_a_gpu_tells_a_bad_gradient_before_the_bad_values_that_it_made(backend):
    layer, camera = layer_of(60, 40, 27)
    means = layer.gaussians.means.clone().requires_grad_()
    splat = rendered([replace(layer, gaussians=replace(layer.gaussians, means=means))], camera, backend, grad="full")[0]
    splat.colour.sum().mul(float("nan")).backward()
    with pytest.raises(RasterizerError, match=REFUSED.format(0, "means")):
        check(backend)
    bad = replace(layer, gaussians=replace(layer.gaussians, means=means.detach() + means.grad))
    rendered([bad], camera, backend)
    with pytest.raises(RasterizerError, match=r"^layer 0: means has NaN"):
        check(backend)


@pytest.mark.parametrize("backend", ["torch", "cpu", KERNELS, CUDA])
def test_large_gradients_that_are_finite_are_given(backend):
    layer, camera = layer_of(60, 40, 27, features=2)
    features = layer.features.clone().requires_grad_()
    splat = rendered([replace(layer, features=features)], camera, backend, grad="full")[0]
    splat.features.backward(torch.full_like(splat.features, 1e36))
    assert features.grad.isfinite().all()
    assert features.grad.max() > 1e36
    if backend in (KERNELS, "cuda"):
        check(backend)


def test_more_tiles_than_a_list_can_hold_are_refused(monkeypatch):
    layer, camera = layer_of(60, 40, 27)
    monkeypatch.setattr(cpu_backend, "MOST_INSTANCES", 30)
    with pytest.raises(
        RasterizerError, match=r"^a layer's Gaussians reach \d+ tiles .* in all, 30 is the most; render"
    ):
        rendered([layer], camera, "cpu")


def test_a_gpu_without_memory_is_an_error_of_one_line(monkeypatch):
    layer, camera = layer_of(60, 40, 27)
    player.mailbox()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    monkeypatch.setattr(Mailbox, "capacity", lambda *_: 2**31 - 1)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, hard))
    try:
        with pytest.raises(
            torch.OutOfMemoryError, match=r"^CUDA out of memory: the rasterizer asks for [89].\d\d GB; end"
        ):
            rendered([layer], camera, KERNELS)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.cuda
def test_a_full_gpu_is_an_error_of_one_line(monkeypatch):
    layer, camera = layer_of(60, 40, 27)
    rendered([layer], camera, "cuda")
    monkeypatch.setattr(Mailbox, "capacity", lambda *_: 2**31 - 1)
    torch.cuda.set_per_process_memory_fraction(0.02)
    line = (
        r"^CUDA out of memory: the rasterizer asks for [\d.]+ GB, [\d.]+ of [\d.]+ GB are free on cuda:0; .*Gaussians$"
    )
    try:
        with pytest.raises(torch.OutOfMemoryError, match=line):
            rendered([layer], camera, "cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    monkeypatch.undo()
    assert rendered([layer], camera, "cuda")[0].colour.isfinite().all()


@pytest.mark.parametrize("backend", ["torch", "cpu", CUDA])
@pytest.mark.parametrize("side", ["width", "height"])
@pytest.mark.parametrize("size", [65536, 2**31, 10**40])
def test_images_of_more_than_65535_pixels_a_side_are_refused(size, side, backend):
    layer, camera = layer_of(3, 8, 8)
    with pytest.raises(
        RasterizerError, match=rf"^camera: {side} is \d+, expected a whole number of pixels from 1 to 65"
    ):
        rasterize([on(backend, layer)], replace(camera, **{side: size}), backend=backend)
