"""Squared errors of images, and PSNR.

torchmetrics has PSNR too, and tests compare with it. This code stays because PSNR and PSNR_moving share one error.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.evaluation.metric_types import Pair, changes


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for data range 1, over all pixels and channels; infinite for equal images."""
    return float(_psnr(a, b))


def psnr_of_pair(pair: Pair) -> Tensor:
    """PSNR of a rendered image."""
    error = pair.once(squared_error)
    return decibels(error.mean(dtype=torch.float64) / len(pair.image))


def psnr_of_changes(pair: Pair) -> Tensor:
    """PSNR of the change since the frame before, against the change in the recorded frames."""
    return _psnr(*changes(pair))


def squared_error(pair: Pair) -> Tensor:
    """Squared error of every pixel [h, w], sum over channels."""
    return _squares(pair.image, pair.truth.image)


def decibels(error: Tensor) -> Tensor:
    """PSNR in dB of a mean squared error for data range 1."""
    return -10 * torch.log10(error)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    total = torch.zeros_like(a[0])
    for first, second in zip(a, b, strict=True):
        difference = first - second
        total.addcmul_(difference, difference)
    return total


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    return decibels(_squares(a, b).mean(dtype=torch.float64) / len(a))
