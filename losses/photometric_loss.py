"""What an image is optimised by, in stage 1 as in stage 2."""

from __future__ import annotations

from torch import Tensor

from losses.structural_similarity import ssim


def photometric(image: Tensor, target: Tensor, *, lambda_dssim: float) -> Tensor:
    """(1 - lambda) L1 + lambda (1 - SSIM) of two images [3, h, w] in [0, 1] (3DGS's loss, MoE-GS's stage 2)."""
    l1 = (image - target).abs().mean()
    if lambda_dssim == 0:
        return l1
    return (1 - lambda_dssim) * l1 + lambda_dssim * (1 - ssim(image, target))
