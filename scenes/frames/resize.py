"""Resizing to the size of the training images."""

from __future__ import annotations

import numpy as np
from PIL import Image

from scenes.types import ResizeFilter, SceneError

WIDEST_UNASKED = 1600
DIVISORS = (1, 2, 4, 8)
NARROWEST = 16  # px; a smaller number was meant as a divisor

FILTERS: dict[ResizeFilter, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def training_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Choose width and height in px of the training images (the rule of 3DGS's `--resolution`).

    1, 2, 4 and 8 divide both sides and round; -1 keeps the size but caps the width at 1600; any other positive number
    is the width, and the height follows, rounded down. SceneError for 0, other negative numbers, and widths below 16.
    """
    if resolution in DIVISORS:
        return round(width / resolution), round(height / resolution)
    if resolution == -1:
        target = min(width, WIDEST_UNASKED)
    elif resolution >= NARROWEST:
        target = resolution
    elif resolution > 0:
        raise SceneError(
            f"resolution {resolution} is a width of {resolution} px: use 1, 2, 4 or 8 to divide the size, "
            f"-1 for the full size, or a width of {NARROWEST} px or more"
        )
    else:
        raise SceneError(f"resolution {resolution} means nothing: use 1, 2, 4, 8, -1 or a width in px")
    return target, max(1, height * target // width)


def resized(image: np.ndarray, width: int, height: int, resize: ResizeFilter) -> np.ndarray:
    """Resize uint8 [h, w, 3] by Pillow's filters, which widen with the reduction (antialiased)."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), FILTERS[resize]))
