"""Oracles: the best expert per pixel, window or frame, chosen with the recorded image.

They bound what choosing one expert can reach. A blend of several experts may be better than its best expert.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from engine.evaluation.baselines import UNIFORM

ORACLE_PIXEL = "oracle_pixel"  # names among the scored methods
ORACLE_WINDOW = "oracle_window"
ORACLE_FRAME = "oracle_frame"
WINDOW = 15  # px, side of the window
ORACLES = {
    ORACLE_PIXEL: "best expert per pixel, chosen with the recorded image: an upper bound that mostly picks noise",
    ORACLE_WINDOW: f"expert of the least squared error in the {WINDOW}x{WINDOW} pixels around each pixel; "
    "a blend may be better",
    ORACLE_FRAME: "expert of the least squared error per frame",
}


def oracle_images(images: Tensor, prepared: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """The image [3, h, w] per oracle, put together from the experts' images [E, 3, h, w].

    prepared: these images as the metric protocol scores them. Windows at the border hold fewer pixels.
    """
    errors = (prepared - truth).square().sum(dim=1)  # [E, h, w]
    windows = _window_means(errors)
    frame = int(errors.double().mean(dim=(1, 2)).argmin())
    return {
        ORACLE_PIXEL: _chosen(images, errors),
        ORACLE_WINDOW: _chosen(images, windows),
        ORACLE_FRAME: images[frame],
    }


def _window_means(errors: Tensor) -> Tensor:
    """Means [E, h, w] of the windows around each pixel: over their rows, then over their columns."""
    half = WINDOW // 2
    rows = avg_pool2d(errors, (WINDOW, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return avg_pool2d(rows, (1, WINDOW), stride=1, padding=(0, half), count_include_pad=False)


def _chosen(images: Tensor, errors: Tensor) -> Tensor:
    choice = errors.argmin(dim=0).expand(1, images.shape[1], -1, -1)
    return torch.gather(images, 0, choice)[0]


def gap_share(psnr: Mapping[str, float], method: str) -> float | None:
    """Share of the gap in dB from the uniform mean to the window oracle that a method wins; 1: all of it.

    None where the oracle is not there or not above the uniform mean.
    """
    if ORACLE_WINDOW not in psnr:
        return None
    gap = psnr[ORACLE_WINDOW] - psnr[UNIFORM]
    return (psnr[method] - psnr[UNIFORM]) / gap if 0 < gap < float("inf") else None
