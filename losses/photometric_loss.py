"""The photometric loss of both stages: L1 and D-SSIM between a rendered image and the true one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from losses.photometric_cuda import has_loss_kernel, photometric_of_kernel
from losses.structural_similarity import ssim


def photometric(image: Tensor, target: Tensor, *, l1: float, dssim: float) -> Tensor:
    """l1 |image - target| + dssim (1 - SSIM), means over images [..., 3, h, w] in [0, 1] (3DGS, eq. 7).

    3DGS and stage 2 of MoE-GS weigh by l1 = 1 - lambda and dssim = lambda.
    """
    return _sum(_terms(image, target, l1=l1, dssim=dssim))


def photometric_sum(images: Sequence[Tensor], targets: Sequence[Tensor], *, l1: float, dssim: float) -> Tensor:
    """Sum of `photometric` over images [3, h, w], whose sizes may differ; those of one size go together."""
    sizes: dict[torch.Size, list[int]] = {}
    for index, image in enumerate(images):
        sizes.setdefault(image.shape, []).append(index)
    terms = []
    for alike in sizes.values():
        ours, theirs = (_stacked([tensors[index] for index in alike]) for tensors in (images, targets))
        terms += _terms(ours, theirs, l1=l1 * len(alike), dssim=dssim * len(alike))
    return _sum(terms)


def l1_loss(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of images, a scalar."""
    return (image - target).abs().mean()


def dssim_loss(image: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM of images [..., h, w] in [0, 1], a scalar (3DGS's D-SSIM)."""
    return 1 - ssim(image, target)


def _terms(image: Tensor, target: Tensor, *, l1: float, dssim: float) -> list[Tensor]:
    if dssim and has_loss_kernel(image, target):  # the choice: what follows gives the same up to rounding, more slowly
        return [photometric_of_kernel(image, target, l1=l1, dssim=dssim)]
    terms = [l1 * l1_loss(image, target)]
    if dssim:  # most of the work, and some recipes do without
        terms.append(dssim * dssim_loss(image, target))
    return terms


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _stacked(images: Sequence[Tensor]) -> Tensor:
    """torch.stack, without copying where there is one."""
    return images[0].unsqueeze(0) if len(images) == 1 else torch.stack(list(images))
