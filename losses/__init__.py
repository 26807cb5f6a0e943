"""How far a picture is from the one it should be."""

from .colours import matched_colours
from .photometric import photometric
from .ssim import ssim, ssim_map

__all__ = ["matched_colours", "photometric", "ssim", "ssim_map"]
