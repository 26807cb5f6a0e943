"""Blending in half precision: close to float32's images, and without gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterizerError, RasterSettings, Splat
from moegs_rasterizer.cuda import reports
from torch import Tensor

from ..backends import CUDA, KERNELS, one_thread, rendered
from ..kernels_on_cpu import player
from ..random_layers import PLANES, layer_of

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

LEAST_PSNR = 60.0  # dB to float32's image, of values about 1
MOST_BIAS = 2e-4  # of the image's mean
CASES = {
    "colours": {"features": 0},
    "colours and features": {"features": 3},
    "nine colours": {"colours": 9, "features": 3},
    "more than one pass": {"colours": 5, "features": 17},
    "harmonics, inria": {"sh_degree": 3, "settings": RasterSettings(tile_rule="inria", low_pass=0.1)},
}


def scene(case: str, count: int = 900) -> tuple[Layer, Camera]:
    """Small and large Gaussians, faint and opaque ones, also far longer than wide."""
    layer, camera = layer_of(count, 75, 52, seed=5, **CASES[case])
    draw = torch.Generator().manual_seed(6)
    stretch = torch.exp(0.8 * torch.randn(count, 3, generator=draw) - 0.8)
    given = layer.gaussians
    return replace(layer, gaussians=replace(given, scales=given.scales * stretch)), camera


def half(layers: list[Layer], camera: Camera, backend: str) -> list[Splat]:
    if backend == KERNELS:
        return rendered(layers, camera, KERNELS, half=True)
    return rendered(layers, camera, "cuda-half")


def assert_close(found: Tensor, right: Tensor) -> None:
    size = max(1.0, float(right.abs().mean()))
    error = (found - right).double() / size
    psnr = -10 * torch.log10(error.square().mean())
    assert psnr >= LEAST_PSNR, float(psnr)
    assert error.mean().abs() <= MOST_BIAS, float(error.mean())


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_images_are_close_to_those_in_float32(case, backend):
    layer, camera = scene(case)
    exact, found = rendered([layer], camera, backend)[0], half([layer], camera, backend)[0]
    for name in ("colour", "features", "alpha"):
        right = getattr(exact, name)
        if right is not None:
            assert_close(getattr(found, name), right)
    assert (found.depth - exact.depth).abs().mean() <= 1e-3 * exact.depth.mean()
    assert not torch.equal(found.colour, exact.colour)
    assert torch.equal(found.radii, exact.radii)


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
def test_other_depths_are_blended_in_float32(backend):
    layer, camera = scene("colours and features", 200)
    layers = [replace(layer, settings=RasterSettings(depth=depth)) for depth in ("mean", "sum", "median")]
    exact, found = rendered(layers, camera, backend), half(layers, camera, backend)
    same = [
        all(torch.equal(getattr(a, name), getattr(b, name)) for name in PLANES)
        for a, b in zip(exact, found, strict=True)
    ]
    assert same == [True, False, True]


@pytest.mark.parametrize("backend", [KERNELS, CUDA])
def test_values_beyond_half_precision_stay_finite(backend):
    layer, camera = scene("colours and features", 200)
    given = layer.gaussians
    layer = replace(layer, gaussians=replace(given, colours=1e6 * given.colours), features=-1e6 * layer.features.abs())
    found = half([layer], camera, backend)[0]
    assert found.colour.isfinite().all()
    assert found.features.isfinite().all()


def test_lists_without_room_give_as_close_an_image(monkeypatch):
    monkeypatch.setattr(reports, "LEAST_CAPACITY", 64)
    layer, camera = scene("colours and features", 200)
    exact = rendered([layer], camera, KERNELS)[0]
    mailbox = player.mailbox()
    mailbox.read()
    size = next(size for size in mailbox.known if size[:2] == (75, 52) and size[3] == (200).bit_length())
    mailbox.known[size] = 1
    assert_close(half([layer], camera, KERNELS)[0].colour, exact.colour)


def test_gradients_are_refused():
    layer, camera = scene("colours", 20)
    with pytest.raises(RasterizerError, match=r'"cuda-half" has no gradients, but grad is "full"'):
        rendered([layer], camera, KERNELS, half=True, grad="full")
