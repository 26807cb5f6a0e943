"""Losses and regularisers of both stages, and the similarity of images they are made of."""

from losses.colours import matched_colours
from losses.gate_regulariser import concentration
from losses.photometric_loss import dssim_loss, l1_loss, photometric, photometric_sum
from losses.structural_similarity import ssim, ssim_map

__all__ = [
    "concentration",
    "dssim_loss",
    "l1_loss",
    "matched_colours",
    "photometric",
    "photometric_sum",
    "ssim",
    "ssim_map",
]
