"""Structural similarity (SSIM) of images, as 3D Gaussian Splatting measures it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from losses.structural_similarity_fused import fused_ssim, fused_ssim_map
from losses.window import C1, C2, RADIUS, SIGMA


def plain_ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of every pixel and channel of two images [..., h, w] with values in [0, 1] (Wang et al. 2004, eq. 13).

    Means, variances and the covariance are those under an 11x11 Gaussian window of sigma 1.5, with zeros beyond the
    image's border (3DGS, Kerbl et al. 2023); C1 = 0.01^2 and C2 = 0.03^2.
    """
    window = gaussian_window(a)

    def mean(values: Tensor) -> Tensor:
        channels = values.reshape(-1, 1, *values.shape[-2:])
        return conv2d(channels, window, padding=RADIUS).view_as(values)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    structure = (2 * covariance + C2) / (variance_a + variance_b + C2)
    return luminance * structure


def gaussian_window(like: Tensor) -> Tensor:
    """The window [1, 1, 11, 11], whose sum is 1, in the type and on the device of a tensor."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=like.dtype, device=like.device)
    line = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    line = line / line.sum()
    return torch.outer(line, line)[None, None]


def plain_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean of `plain_ssim_map`, a scalar."""
    return plain_ssim_map(a, b).mean()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of two images [..., h, w] with values in [0, 1], a scalar whose gradients reach both."""
    return fused_ssim(a, b)  # the choice: plain_ssim gives the same up to rounding, more slowly


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of every pixel and channel of two images [..., h, w] with values in [0, 1], without gradients."""
    return fused_ssim_map(a, b)  # the choice: plain_ssim_map gives the same up to rounding, more slowly
