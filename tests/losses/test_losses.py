from __future__ import annotations

from importlib import import_module

import pytest
import torch
import torch.nn.functional as F

from losses import photometric, ssim, ssim_map, window


def by_definition(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """SSIM with the full 11x11 window, one dense convolution per moment."""
    line = torch.exp(-((torch.arange(11, dtype=a.dtype) - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(line, line)
    window = (window / window.sum())[None, None]

    def mean(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x[:, None], window, padding=5)[:, 0]

    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    top = (2 * mean(a) * mean(b) + 0.01**2) * (2 * covariance + 0.03**2)
    return top / ((mean(a) ** 2 + mean(b) ** 2 + 0.01**2) * (variances + 0.03**2))


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("size", [(17, 23), (6, 4), (1, 12)])
def test_ssim_equals_its_definition(size):
    a, b = torch.rand(3, *size, dtype=torch.float64), torch.rand(3, *size, dtype=torch.float64)
    assert torch.allclose(ssim_map(a, b), by_definition(a, b), atol=1e-12)


@pytest.mark.parametrize("size", [(17, 23), (6, 4), (1, 12), (27, 59), (28, 60)])  # around whole blocks, too
def test_the_window_is_the_same_on_a_cpu_and_on_a_gpu(size):
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    found = []
    for make in (window.canvas, window.padded_canvas):
        filled = make(2, images[0])
        filled.maps.copy_(images)
        found.append(window.blurred(filled)[..., : size[0], : size[1]])
    torch.testing.assert_close(*found, atol=1e-15, rtol=0)


def test_what_lies_beside_the_maps_is_finite(monkeypatch):
    """It takes part in sums and products: on a GPU whole buffers are what kernels read fastest."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)  # memory that nobody wrote is NaN
    try:
        filled = window.padded_canvas(2, torch.rand(3, 17, 23))
        filled.maps.copy_(torch.rand(2, 3, 17, 23))
        beside = window.blurred(filled)
    finally:
        torch.use_deterministic_algorithms(False)
    assert beside.shape == (2, 3, 32, 32) and beside.isfinite().all() and beside.amin() >= 0 and beside.amax() <= 1


def test_ssim_of_equal_images_is_one_and_falls_with_noise():
    image = torch.rand(3, 20, 20)
    assert ssim(image, image).item() == pytest.approx(1, abs=1e-6)
    values = [ssim(image, image + level * torch.randn(3, 20, 20)).item() for level in (0.01, 0.1, 0.3)]
    assert values == sorted(values, reverse=True)


@pytest.fixture(params=["cpu", "gpu"])
def place(request, monkeypatch):
    """How maps are filtered."""
    if request.param == "gpu":
        monkeypatch.setattr(import_module("losses.structural_similarity"), "canvas", window.padded_canvas)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("learning", [(True, False), (False, True), (True, True)])
def test_gradients_of_ssim_are_those_of_its_definition(learning):
    images = [torch.rand(3, 7, 28, dtype=torch.float64, requires_grad=wanted) for wanted in learning]
    wanted = [image for image in images if image.requires_grad]
    expected = torch.autograd.grad(by_definition(*images).mean() * 2, wanted)
    for a, b in zip(torch.autograd.grad(ssim(*images) * 2, wanted), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-14, rtol=0)  # of 0.02; seen: 4e-17


@pytest.mark.usefixtures("place")
def test_gradients_of_the_photometric_loss():
    image = torch.rand(3, 7, 8, dtype=torch.float64, requires_grad=True)
    target = torch.rand(3, 7, 8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: photometric(x, target, lambda_dssim=0.2), image)


def test_the_photometric_loss_mixes_l1_and_dissimilarity():
    image, target = torch.rand(3, 9, 9), torch.rand(3, 9, 9)
    l1, dissimilarity = (image - target).abs().mean(), 1 - ssim(image, target)
    assert photometric(image, target, lambda_dssim=0.0) == l1
    assert photometric(image, target, lambda_dssim=1.0).item() == pytest.approx(dissimilarity.item())
    assert photometric(image, target, lambda_dssim=0.2).item() == pytest.approx((0.8 * l1 + 0.2 * dissimilarity).item())
