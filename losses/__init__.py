"""How far a picture is from the one it should be."""

from .photometric import photometric
from .ssim import ssim, ssim_map

__all__ = ["photometric", "ssim", "ssim_map"]
