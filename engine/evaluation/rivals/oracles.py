"""Oracles: the best expert per pixel, window or frame, chosen with the recorded image.

They bound what choosing one expert can reach. A blend of several experts may be better than its best expert.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.evaluation.rivals.baselines import UNIFORM

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
    errors = torch.stack([(image - truth).square_().sum(dim=0) for image in prepared])  # [E, h, w]
    frame = errors.mean(dim=(1, 2), dtype=torch.float64).argmin()
    return {
        ORACLE_PIXEL: _chosen(images, errors),
        ORACLE_WINDOW: _chosen(images, _window_sums(errors)),
        ORACLE_FRAME: images.index_select(0, frame[None])[0],  # an index on the device: nothing waits for it
    }


def _window_sums(errors: Tensor) -> Tensor:
    """Sums [E, h, w] over the windows around each pixel; experts share a pixel's window, so means rank them alike."""
    half = WINDOW // 2
    padded = pad(errors, (half, half, half, half))
    return _running_sums(_running_sums(padded, -2), -1)


def _running_sums(values: Tensor, dim: int) -> Tensor:
    """Sums of WINDOW neighbours along a dimension, from sums of 1, 2, 4 and 8: six additions instead of fourteen."""
    length = values.shape[dim] - WINDOW + 1
    sums, width, start = values, 1, 0
    total = torch.zeros_like(values.narrow(dim, 0, length))
    while True:
        if WINDOW & width:
            total += sums.narrow(dim, start, length)
            start += width
        if 2 * width > WINDOW:
            return total
        count = sums.shape[dim] - width
        sums = sums.narrow(dim, 0, count) + sums.narrow(dim, width, count)
        width *= 2


def _chosen(images: Tensor, errors: Tensor) -> Tensor:
    """The pixels [3, h, w] of the images [E, 3, h, w] with the least errors [E, h, w]."""
    choice = errors.min(dim=0).indices  # on a CPU several times as fast as argmin
    return torch.gather(images, 0, choice.expand(1, images.shape[1], -1, -1))[0]


def gap_share(psnr: Mapping[str, float], method: str) -> float | None:
    """Share of the gap in dB from the uniform mean to the window oracle that a method wins; 1: all of it.

    None where the oracle is not there or not above the uniform mean.
    """
    if ORACLE_WINDOW not in psnr:
        return None
    gap = psnr[ORACLE_WINDOW] - psnr[UNIFORM]
    return (psnr[method] - psnr[UNIFORM]) / gap if 0 < gap < float("inf") else None
