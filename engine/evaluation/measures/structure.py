"""Similarities of images: the SSIM of 3DGS, MS-SSIM, and the SSIM of scikit-image.

The packages scikit-image and torchmetrics compute these too, and tests compare with both. This code stays for speed:
SSIM, SSIM_moving and the finest scale of MS-SSIM share one filtering, the recorded image is filtered once for all
methods, and nothing waits for a GPU. torchmetrics' MS-SSIM also differs at the border of the coarsest scale.
`padded_canvas` has the window applied by matrix products, which is the fastest on a CPU too for images of this size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from engine.evaluation.measures.metric_types import Pair, TrueImage
from losses.window import C1, C2, RADIUS, blurred, padded_canvas

# Exponents of the five scales, the finest first (Wang, Simoncelli and Bovik 2003, section 3.2).
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SMALLEST = 2 * RADIUS * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1  # px: the window fits into the coarsest scale
BOX = 7  # px, side of scikit-image's uniform window
STRIP = 113  # rows of an image that a CPU filters at a time: they stay in its cache; with RADIUS around, whole blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class FinestScale:
    """Sums over the pixels of images [..., 3, h, w] at full resolution, float64."""

    ssim: Tensor  # [...]: of the SSIM map, all channels
    moving: Tensor | None  # [...]: the same of the pixels that move
    structure: Tensor  # [..., 3]: of contrast times structure, without the border that a window leaves


def ssim(pair: Pair) -> Tensor:
    """3DGS's SSIM with data range 1: mean of `losses.ssim_map` over pixels and channels."""
    return pair.once(finest_scale).ssim / pair.image.shape[-3:].numel()


def ms_ssim(pair: Pair) -> Tensor:
    """MS-SSIM with data range 1, mean over channels (Wang et al. 2003, eq. 7).

    Each scale halves the image by means of 2x2 pixels; odd sides get a zero row or column at both ends, as in the
    package pytorch-msssim. The 11x11 Gaussian window (sigma 1.5) stays inside the image. Negative means count as 0.
    """
    height, width = pair.image.shape[-2:]
    means = [pair.once(finest_scale).structure / ((height - 2 * RADIUS) * (width - 2 * RADIUS))]
    a = pair.image
    for scale in range(1, len(MS_SSIM_WEIGHTS)):
        a = _halved(a)
        b, mean_b = pair.truth.once(_scaled, scale)
        luminance, structure = _parts(a, b, mean_b)
        values = luminance * structure if scale == len(MS_SSIM_WEIGHTS) - 1 else structure
        means.append(_inside(values).mean(dim=(-2, -1), dtype=torch.float64))
    product = torch.ones_like(means[0])
    for mean, weight in zip(means, MS_SSIM_WEIGHTS, strict=True):
        product = product * mean.clamp_min(0) ** weight
    return product.mean(dim=-1)


def finest_scale(pair: Pair) -> FinestScale:
    """Sums for SSIM, SSIM_moving and MS-SSIM at full resolution, from one filtering."""
    image, truth = pair.image, pair.truth.image
    _, mean_truth = pair.truth.once(_scaled, 0)
    height, rows = image.shape[-2], STRIP if image.device.type == "cpu" else image.shape[-2]
    total, moving, structures = [], [], []
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        first, last = max(0, top - RADIUS), min(height, bottom + RADIUS)
        read = (..., slice(first, last), slice(None))
        luminance, structure = (
            part[..., top - first : bottom - first, :] for part in _parts(image[read], truth[read], mean_truth[read])
        )
        inside = structure[..., max(0, RADIUS - top) : max(0, height - RADIUS - top), RADIUS:-RADIUS]
        structures.append(inside.sum(dim=(-2, -1), dtype=torch.float64))
        values = (luminance * structure).sum(dim=-3)
        total.append(values.sum(dim=(-2, -1), dtype=torch.float64))
        if pair.truth.mask is not None:
            moving.append((values * pair.truth.mask[top:bottom]).sum(dim=(-2, -1), dtype=torch.float64))
    return FinestScale(
        ssim=torch.stack(total).sum(dim=0),
        moving=torch.stack(moving).sum(dim=0) if moving else None,
        structure=torch.stack(structures).sum(dim=0),
    )


def _parts(a: Tensor, b: Tensor, mean_b: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, of images (Wang et al. 2004, eq. 6 to 13 with C3 = C2 / 2).

    a: [..., 3, h, w]. b: [3, h, w]. mean_b: b under the window. Zeros lie beyond the border.
    """
    height, width = a.shape[-2:]
    canvas = padded_canvas(3, a.flatten(0, -3))
    image, both, sum_of_squares = canvas.maps.unflatten(1, a.shape[:-2])
    image.copy_(a)
    torch.mul(a, b, out=both)
    torch.mul(a, a, out=sum_of_squares).addcmul_(b, b)
    mean_a, product, squares = blurred(canvas)[..., :height, :width].unflatten(1, a.shape[:-2])
    means = mean_a * mean_b
    brightness = torch.mul(mean_a, mean_a).addcmul_(mean_b, mean_b)
    covariance = product.sub_(means).mul_(2).add_(C2)
    variances = squares.sub_(brightness).add_(C2)
    luminance = means.mul_(2).add_(C1).div_(brightness.add_(C1))
    return luminance, covariance.div_(variances)


def _scaled(truth: TrueImage, scale: int) -> tuple[Tensor, Tensor]:
    """A recorded image halved so many times, and the same under the window."""
    image = truth.image if scale == 0 else _halved(truth.once(_scaled, scale - 1)[0])
    maps = padded_canvas(1, image)
    maps.maps[0] = image
    return image, blurred(maps)[0, :, : image.shape[-2], : image.shape[-1]]


def _halved(image: Tensor) -> Tensor:
    return avg_pool2d(image, 2, padding=[side % 2 for side in image.shape[-2:]])


def _inside(values: Tensor) -> Tensor:
    return values[..., RADIUS:-RADIUS, RADIUS:-RADIUS]


def scikit_ssim(pair: Pair, data_range: float) -> Tensor:
    """SSIM of two images [3, h, w] as `skimage.metrics.structural_similarity` computes it by default.

    7x7 uniform window that stays inside the image, sample variances (divided by 48), mean over pixels and channels;
    C1 = (0.01 data_range)^2, C2 = (0.03 data_range)^2 (Wang et al. 2004, eq. 13).
    """
    channels = zip(pair.image.double(), pair.truth.image.double(), strict=True)
    return torch.stack([_channel_scikit_ssim(x[None], y[None], data_range) for x, y in channels]).mean()


def _channel_scikit_ssim(a: Tensor, b: Tensor, data_range: float) -> Tensor:
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    unbiased = BOX**2 / (BOX**2 - 1)

    def mean(values: Tensor) -> Tensor:
        return avg_pool2d(avg_pool2d(values, (BOX, 1), 1), (1, BOX), 1)

    mean_a, mean_b = mean(a), mean(b)
    variances = unbiased * (mean(a * a + b * b) - mean_a**2 - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    values: Tensor = luminance * (2 * covariance + c2) / (variances + c2)
    return values.mean()


def scikit_dssim(pair: Pair, data_range: float) -> Tensor:
    """(1 - SSIM) / 2 with the SSIM of scikit-image: DSSIM1 for data range 1, DSSIM2 for data range 2."""
    return (1 - scikit_ssim(pair, data_range)) / 2
