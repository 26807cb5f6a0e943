"""Structural similarity as 3D Gaussian Splatting defines it: 11x11 Gaussian window of sigma 1.5, zero padding."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

RADIUS = 5
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2
_HALF = [math.exp(-(offset**2) / (2 * SIGMA**2)) for offset in range(RADIUS + 1)]
_WINDOW = [weight / (_HALF[0] + 2 * sum(_HALF[1:])) for weight in _HALF]  # from the centre outwards


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of two images [..., h, w] with values in [0, 1]; a scalar."""
    return ssim_map(a, b).mean()


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of every pixel and channel of two images [..., h, w] with values in [0, 1] (Wang et al. 2004; 3DGS)."""
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a * mean_a
    variance_b = _blur(b * b) - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return luminance * (2 * covariance + C2) / (variance_a + variance_b + C2)


def _blur(image: Tensor) -> Tensor:
    return _GaussianBlur.apply(image)


class _GaussianBlur(torch.autograd.Function):
    """Separable Gaussian window with zero padding: symmetric, so its own adjoint, and nothing is kept for backward."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        return _blur_along(_blur_along(image, -1), -2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _blur_along(_blur_along(gradient, -1), -2)


def _blur_along(image: Tensor, dim: int) -> Tensor:
    return _shifted(image, dim) if image.device.type == "cpu" else _convolved(image, dim)


def _shifted(image: Tensor, dim: int) -> Tensor:
    """The window along a dimension as sums of shifted images: on a CPU faster than a convolution."""
    length = image.shape[dim]
    blurred = image * _WINDOW[0]
    for offset in range(1, min(RADIUS, length - 1) + 1):
        weight = _WINDOW[offset]
        near, far = image.narrow(dim, 0, length - offset), image.narrow(dim, offset, length - offset)
        blurred.narrow(dim, 0, length - offset).add_(far, alpha=weight)
        blurred.narrow(dim, offset, length - offset).add_(near, alpha=weight)
    return blurred


def _convolved(image: Tensor, dim: int) -> Tensor:
    """The same as one convolution, every channel alone: few kernels, which is what counts on a GPU."""
    planes = image.reshape(1, -1, *image.shape[-2:])
    upright = dim == -2
    window = _window(image.dtype, image.device).reshape((-1, 1) if upright else (1, -1))
    kernels = window.expand(planes.shape[1], 1, *window.shape)
    padding = (RADIUS, 0) if upright else (0, RADIUS)
    return conv2d(planes, kernels, padding=padding, groups=planes.shape[1]).reshape(image.shape)


@lru_cache(maxsize=8)
def _window(dtype: torch.dtype, device: torch.device) -> Tensor:
    """[11], made once: copying numbers to a GPU waits until it has done everything before."""
    return torch.tensor([*reversed(_WINDOW[1:]), *_WINDOW], dtype=dtype, device=device)
