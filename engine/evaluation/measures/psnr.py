"""Squared errors of images, and PSNR.

torchmetrics has PSNR too, and tests compare with it. This code stays because PSNR and PSNR_moving share one error.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.evaluation.measures.metric_types import Pair, TrueImage, change

IMAGE = (-3, -2, -1)  # dimensions


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for data range 1, over all pixels and channels; infinite for equal images."""
    return float(decibels(_squares(a, b.double()).mean()))


def psnr_of_pair(pair: Pair) -> Tensor:
    """PSNR of a rendered image."""
    return decibels(pair.once(squared_error).mean(dim=IMAGE))


def psnr_of_changes(pair: Pair) -> Tensor:
    """PSNR of the change since the frame before, against the change in the recorded frames."""
    assert pair.before is not None
    return decibels(_squares(pair.image - pair.before, pair.truth.once(_double_change)).mean(dim=IMAGE))


def squared_error(pair: Pair) -> Tensor:
    """Squared error of every pixel and channel, float64 [..., 3, h, w]."""
    return _squares(pair.image, pair.truth.once(_double))


def decibels(error: Tensor) -> Tensor:
    """PSNR in dB of a mean squared error for data range 1."""
    return -10 * torch.log10(error)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    difference = a.to(torch.float64, copy=True).sub_(b)
    return difference.mul_(difference)


def _double(truth: TrueImage) -> Tensor:
    return truth.image.double()


def _double_change(truth: TrueImage) -> Tensor:
    return truth.once(change).double()
