"""Sharpness of cameras, compared with one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

WIDTH = 640  # px that wider images are shrunk to
FINE, COARSE = 0.7, 2.0  # px: Gaussians under the two gradients
TEXTURED = 0.3  # share of the pixels: those of the largest fine gradients
# ln of a camera's sharpness over the median camera's. A Gaussian blur of 2 px at a width of 320 px takes 0.39 or more;
# cameras of real and synthetic rigs that are in focus lie within 0.14, at a width of 160 px within 0.34.
BLURRED = -0.36
FEWEST = 3  # cameras: of two, none is the usual one


def grey(image: np.ndarray, width: int) -> np.ndarray:
    """Shrink uint8 [h, w, 3] to at most `width` px; returns grey levels, float32 [h', w']."""
    small = Image.fromarray(image).convert("L")
    if small.width > width:
        size = (width, max(1, round(small.height * width / small.width)))
        small = small.resize(size, Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def sharpness(image: np.ndarray) -> float | None:
    """Measure the median ratio of the fine to the coarse gradient where an image uint8 [h, w, 3] has texture.

    Edges of every contrast have the same ratio, which falls with their blur. None for an image without texture.
    """
    from scipy.ndimage import gaussian_gradient_magnitude  # here: most commands measure nothing

    levels = grey(image, WIDTH)
    fine, coarse = (gaussian_gradient_magnitude(levels, sigma) for sigma in (FINE, COARSE))
    textured = (fine >= np.quantile(fine, 1 - TEXTURED)) & (fine > 1) & (coarse > 0)
    return float(np.median(fine[textured] / coarse[textured])) if textured.any() else None


def relative_sharpness(images: Sequence[Sequence[np.ndarray]]) -> list[float | None]:
    """Measure each camera's sharpness over that of the median camera, from a few frames [h, w, 3] of each.

    None where a camera shows no texture, and for fewer than FEWEST cameras that do.
    """
    values = [_median([value for value in map(sharpness, frames) if value is not None]) for frames in images]
    known = [value for value in values if value is not None]
    if len(known) < FEWEST:
        return [None] * len(values)
    usual = float(np.median(known))
    return [None if value is None else value / usual for value in values]


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
