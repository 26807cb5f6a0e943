"""L1 and SSIM as one kernel, and the gradient as another, written by hand (csrc/cuda/loss.cu)."""

from __future__ import annotations

from typing import Any

import torch
from moegs_rasterizer.image_kernels import kernels, stream_of
from torch import Tensor
from torch.autograd.function import once_differentiable


def has_loss_kernel(image: Tensor, target: Tensor) -> bool:
    """Tell whether `photometric_of_kernel` can compare two images: gradients reach the first alone."""
    alike = (target.shape, target.dtype, target.device) == (image.shape, image.dtype, image.device)
    return alike and not target.requires_grad and kernels(image) is not None


def photometric_of_kernel(image: Tensor, target: Tensor, *, l1: float, dssim: float) -> Tensor:
    """`photometric` of images [..., h, w], up to rounding; a scalar whose gradient reaches the image."""
    shape = (-1, *image.shape[-2:])
    loss: Tensor = _Photometric.apply(image.reshape(shape), target.reshape(shape), l1, dssim)
    return loss


class _Photometric(torch.autograd.Function):
    """The forward kernel also leaves what the way back filters: three slopes of SSIM at every pixel."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, l1: float, dssim: float) -> Tensor:
        image, target = image.contiguous(), target.contiguous()
        learns = ctx.needs_input_grad[0]
        loss, slopes = kernels(image).photometric(image, target, l1, dssim, learns, stream_of(image))
        ctx.weights = l1, dssim
        ctx.save_for_backward(image, target, slopes)
        return loss.view(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, target, slopes = ctx.saved_tensors
        given = gradient.reshape(1).contiguous()
        sent = (image, target, slopes, given, *ctx.weights, stream_of(image))
        (of_image,) = kernels(image).photometric_backward(*sent)
        return of_image, None, None, None
