"""SSIM: the fused version against the plain one, and the window by which both filter."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from losses import ssim, ssim_map, structural_similarity, structural_similarity_fused, window
from losses.structural_similarity import gaussian_window, plain_ssim, plain_ssim_map
from tests.plain_and_fused import assert_same


@pytest.fixture(params=["cpu", "gpu"])
def filtered(request, monkeypatch):
    """The filter of a CPU, then that of a GPU."""
    if request.param == "gpu":
        monkeypatch.setattr(structural_similarity_fused, "canvas", window.padded_canvas)


@pytest.mark.usefixtures("filtered")
@pytest.mark.parametrize("size", [(3, 17, 23), (3, 6, 4), (3, 1, 12), (2, 3, 9, 8)])
def test_fused_ssim_map_is_the_plain_one(size):
    a, b = torch.rand(2, *size, dtype=torch.float64)
    torch.testing.assert_close(ssim_map(a, b), plain_ssim_map(a, b), atol=1e-12, rtol=0)


@pytest.mark.usefixtures("filtered")
@pytest.mark.parametrize("size", [(3, 7, 28), (1, 1, 12), (2, 3, 9, 8)])
@pytest.mark.parametrize("learning", [(True, False), (False, True), (True, True)])
def test_fused_ssim_is_the_plain_one(size, learning):
    images = [torch.rand(size, dtype=torch.float64, requires_grad=learns) for learns in learning]
    learned = [image for image in images if image.requires_grad]
    assert_same(partial(plain_ssim, *images), partial(ssim, *images), learned, atol=1e-14)  # seen: 6e-16


def test_the_choice_is_made_at_one_point(monkeypatch):
    """`ssim` and `ssim_map` call the functions chosen in structural_similarity.py; the test replaces both."""
    a, b = torch.rand(2, 3, 9, 8)
    monkeypatch.setattr(structural_similarity, "fused_ssim", plain_ssim)
    monkeypatch.setattr(structural_similarity, "fused_ssim_map", plain_ssim_map)
    assert torch.equal(ssim(a, b), plain_ssim(a, b)) and torch.equal(ssim_map(a, b), plain_ssim_map(a, b))


def test_plain_ssim_of_one_pixel_is_the_formula():
    """The image is one row of three pixels, so the window covers only these."""
    a, b = torch.rand(2, 1, 1, 3, dtype=torch.float64)
    weights = gaussian_window(a)[0, 0, 5, 4:7]
    p, q = a.flatten(), b.flatten()
    mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
    variances = (weights * p * p).sum() - mean_p**2 + (weights * q * q).sum() - mean_q**2
    covariance = (weights * p * q).sum() - mean_p * mean_q
    expected = (2 * mean_p * mean_q + 1e-4) * (2 * covariance + 9e-4)
    expected = expected / ((mean_p**2 + mean_q**2 + 1e-4) * (variances + 9e-4))
    torch.testing.assert_close(plain_ssim_map(a, b)[0, 0, 1], expected, atol=1e-14, rtol=0)


def test_the_window_is_a_gaussian_of_sum_one():
    weights = gaussian_window(torch.zeros((), dtype=torch.float64))[0, 0]
    assert weights.shape == (11, 11) and weights.sum().item() == pytest.approx(1, abs=1e-15)
    assert (weights[5, 8] / weights[5, 5]).item() == pytest.approx(torch.tensor(-9 / 4.5).exp().item(), rel=1e-6)


@pytest.mark.parametrize("size", [(17, 23), (6, 4), (1, 12), (27, 59), (28, 60)])  # around whole blocks, too
def test_the_window_is_the_same_on_a_cpu_and_on_a_gpu(size):
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    filtered = []
    for make in (window.canvas, window.padded_canvas):
        filled = make(2, images[0])
        filled.maps.copy_(images)
        filtered.append(window.blurred(filled)[..., : size[0], : size[1]])
    torch.testing.assert_close(*filtered, atol=1e-15, rtol=0)


def test_what_lies_beside_the_maps_is_finite(monkeypatch):
    """The padding takes part in sums and products, because a GPU's kernels read whole buffers fastest."""
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
