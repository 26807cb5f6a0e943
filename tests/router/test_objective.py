from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from router import objective, ssim, ssim_map
from router.ssim import _convolved, _shifted


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


@pytest.mark.parametrize("size", [(17, 23), (6, 4), (1, 12)])
def test_ssim_equals_its_definition(size):
    a, b = torch.rand(3, *size, dtype=torch.float64), torch.rand(3, *size, dtype=torch.float64)
    assert torch.allclose(ssim_map(a, b), by_definition(a, b), atol=1e-12)


@pytest.mark.parametrize("size", [(17, 23), (6, 4), (1, 12)])
def test_the_window_is_the_same_on_a_cpu_and_on_a_gpu(size):
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    for dim in (-1, -2):
        torch.testing.assert_close(_convolved(image, dim), _shifted(image, dim), atol=1e-15, rtol=0)


def test_ssim_of_equal_images_is_one_and_falls_with_noise():
    image = torch.rand(3, 20, 20)
    assert ssim(image, image).item() == pytest.approx(1, abs=1e-6)
    values = [ssim(image, image + level * torch.randn(3, 20, 20)).item() for level in (0.01, 0.1, 0.3)]
    assert values == sorted(values, reverse=True)


def test_gradients_of_the_objective():
    image = torch.rand(3, 7, 8, dtype=torch.float64, requires_grad=True)
    target = torch.rand(3, 7, 8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: objective(x, target, lambda_dssim=0.2), image)


def test_objective_mixes_l1_and_dissimilarity():
    image, target = torch.rand(3, 9, 9), torch.rand(3, 9, 9)
    l1, dissimilarity = (image - target).abs().mean(), 1 - ssim(image, target)
    assert objective(image, target, lambda_dssim=0.0) == l1
    assert objective(image, target, lambda_dssim=1.0).item() == pytest.approx(dissimilarity.item())
    assert objective(image, target, lambda_dssim=0.2).item() == pytest.approx((0.8 * l1 + 0.2 * dissimilarity).item())
