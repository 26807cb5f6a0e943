"""Similarities of images other than the SSIM of 3DGS: MS-SSIM, and the SSIM of scikit-image."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d

from losses.window import C1, C2, RADIUS, blurred, canvas

# Exponents of the five scales, the finest first (Wang, Simoncelli and Bovik 2003, section 3.2).
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SMALLEST = 2 * RADIUS * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1  # px: the window fits into the coarsest scale
BOX = 7  # px, side of scikit-image's uniform window


def ms_ssim(a: Tensor, b: Tensor) -> float:
    """MS-SSIM of two images [3, h, w] with data range 1, mean over channels (Wang et al. 2003, eq. 7).

    Each scale halves the image by means of 2x2 pixels; odd sides get a zero row or column at both ends, as in the
    package pytorch-msssim. The 11x11 Gaussian window (sigma 1.5) stays inside the image. Negative means count as 0.
    """
    return sum(_channel_ms_ssim(x[None], y[None]) for x, y in zip(a, b, strict=True)) / len(a)


def _channel_ms_ssim(a: Tensor, b: Tensor) -> float:
    """MS-SSIM of images [1, h, w]; one channel at a time takes a third of the memory."""
    product = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale:
            odd = [side % 2 for side in a.shape[-2:]]
            a, b = avg_pool2d(a, 2, padding=odd), avg_pool2d(b, 2, padding=odd)
        luminance, structure = _ssim_parts(a, b)
        coarsest = scale == len(MS_SSIM_WEIGHTS) - 1
        values = luminance * structure if coarsest else structure
        product *= max(0.0, float(values.double().mean())) ** weight
    return product


def _ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, of images [1, h, w], without the border that a window leaves."""
    maps = canvas(5, a)
    for target, values in zip(maps.maps, (a, b, a * a, b * b, a * b), strict=True):
        target.copy_(values)
    height, width = a.shape[-2:]
    inside = (..., slice(RADIUS, height - RADIUS), slice(RADIUS, width - RADIUS))
    mean_a, mean_b, square_a, square_b, product = blurred(maps)[inside]
    variance_a, variance_b = square_a - mean_a**2, square_b - mean_b**2
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * (product - mean_a * mean_b) + C2) / (variance_a + variance_b + C2)


def scikit_ssim(a: Tensor, b: Tensor, data_range: float) -> float:
    """SSIM of two images [3, h, w] as `skimage.metrics.structural_similarity` computes it by default.

    7x7 uniform window that stays inside the image, sample variances (divided by 48), mean over pixels and channels;
    C1 = (0.01 data_range)^2, C2 = (0.03 data_range)^2 (Wang et al. 2004, eq. 13).
    """
    channels = zip(a.double(), b.double(), strict=True)
    return sum(_channel_scikit_ssim(x[None], y[None], data_range) for x, y in channels) / len(a)


def _channel_scikit_ssim(a: Tensor, b: Tensor, data_range: float) -> float:
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    unbiased = BOX**2 / (BOX**2 - 1)

    def mean(values: Tensor) -> Tensor:
        return avg_pool2d(avg_pool2d(values, (BOX, 1), 1), (1, BOX), 1)

    mean_a, mean_b = mean(a), mean(b)
    variances = unbiased * (mean(a * a + b * b) - mean_a**2 - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    values: Tensor = luminance * (2 * covariance + c2) / (variances + c2)
    return float(values.mean())


def scikit_dssim(a: Tensor, b: Tensor, data_range: float) -> float:
    """(1 - SSIM) / 2 with the SSIM of scikit-image: DSSIM1 for data range 1, DSSIM2 for data range 2."""
    return (1 - scikit_ssim(a, b, data_range)) / 2
