"""Structural similarity as one function: maps are filtered together, and the gradient is written by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.maths.tensors import constant
from losses.window import C1, C2, blurred, canvas


class _Terms(NamedTuple):
    """SSIM of images [n, h, w] as luminance * structure, and their parts, each [n, h or more, w or more]."""

    means: Tensor  # [2, n, ...]: of a and of b
    luminance: Tensor  # (product of the means + C1 / 2) / brightness
    brightness: Tensor  # mean of the squared means + C1 / 2
    structure: Tensor  # (covariance + C2 / 2) / contrast
    contrast: Tensor  # mean of the variances + C2 / 2


def fused_ssim(a: Tensor, b: Tensor) -> Tensor:
    """`plain_ssim`: mean SSIM of two images [..., h, w], a scalar whose gradients reach both."""
    mean: Tensor = _MeanSsim.apply(*(image.reshape(-1, *image.shape[-2:]) for image in (a, b)))
    return mean


@torch.no_grad()
def fused_ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """`plain_ssim_map`: SSIM of every pixel and channel of two images [..., h, w], without gradients."""
    first, second = (image.reshape(-1, *image.shape[-2:]) for image in (a, b))
    return _map(_terms(first, second), first.shape).reshape(a.shape)


def _map(terms: _Terms, shape: torch.Size) -> Tensor:
    _, height, width = shape
    return (terms.luminance * terms.structure)[:, :height, :width]


def _terms(a: Tensor, b: Tensor) -> _Terms:
    filled = canvas(4, a)
    zero, half_c1 = (constant((value,), a.dtype, a.device) for value in (0.0, C1 / 2))
    filled.maps[0] = a
    filled.maps[1] = b
    torch.mul(a, b, out=filled.maps[2])
    torch.addcmul(zero, a, a, value=0.5, out=filled.maps[3]).addcmul_(b, b, value=0.5)
    means, moments = blurred(filled).split(2)
    of_means = torch.empty_like(means)
    product, brightness = of_means
    torch.addcmul(half_c1, means[0], means[1], out=product)
    torch.addcmul(half_c1, means[0], means[0], value=0.5, out=brightness).addcmul_(means[1], means[1], value=0.5)
    covariance, contrast = moments.sub_(of_means).add_((C1 + C2) / 2)
    return _Terms(
        means=means,
        luminance=product.div_(brightness),
        brightness=brightness,
        structure=covariance.div_(contrast),
        contrast=contrast,
    )


class _MeanSsim(torch.autograd.Function):
    """Mean SSIM of images [n, h, w]; four maps are filtered forward, and three backward where one image learns.

    With l and s luminance and structure, x = blur(a b) and y = blur((a^2 + b^2) / 2):
    d(ls)/dx = l / contrast, d(ls)/dy = -ls / contrast, and the means m of a and b stand in both denominators too.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        terms = _terms(a, b)
        ctx.save_for_backward(a, b, *terms)
        return _map(terms, a.shape).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b, *saved = ctx.saved_tensors
        terms = _Terms(*(values[..., : a.shape[1], : a.shape[2]] for values in saved))
        learning = [index for index in (0, 1) if ctx.needs_input_grad[index]]
        filled = canvas(2 + len(learning), a)
        to_product = torch.div(terms.luminance, terms.contrast, out=filled.maps[0])
        from_square = torch.mul(terms.structure, to_product, out=filled.maps[1])  # with the other sign
        by_brightness = terms.structure / terms.brightness
        to_other = by_brightness - to_product
        to_own = torch.addcmul(from_square, terms.luminance, by_brightness, value=-1)
        for row, index in enumerate(learning, 2):
            own, other = terms.means[index], terms.means[1 - index]
            torch.mul(other, to_other, out=filled.maps[row]).addcmul_(own, to_own)
        product, square, *means = blurred(filled)[..., : a.shape[1], : a.shape[2]]
        factor, images = gradient / a.numel(), (a, b)
        gradients: list[Tensor | None] = [None, None]
        for index, mean in zip(learning, means, strict=True):
            mean.addcmul_(images[1 - index], product).addcmul_(images[index], square, value=-1)
            gradients[index] = mean * factor
        return gradients[0], gradients[1]
