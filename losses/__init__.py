"""How far an image is from the one it should be."""

from losses.colours import matched_colours
from losses.photometric_loss import photometric
from losses.structural_similarity import ssim, ssim_map

__all__ = ["matched_colours", "photometric", "ssim", "ssim_map"]
