"""The table `generalise` of all recipes: measures against models that fit training cameras better than other views."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Generalisation:
    """Measures that all experts share. At these defaults all are off, and a training is as without them."""

    # Share of the Gaussians, chosen anew for each training image, that the image lacks; it grows from 0 to this at the
    # last iteration (DropGaussian, Park et al., CVPR 2025).
    dropout: float = 0.0
    opacity: float = 0.0  # weight of the mean opacity in the loss (3DGS-MCMC, Kheradmand et al., NeurIPS 2024)
    # Weight of the mean opacity at an image's moment, temporal windows included: Gaussians that it does not show are
    # left alone, where `opacity` makes all fainter in every iteration.
    moment_opacity: float = 0.0
    scale: float = 0.0  # weight of the mean scale over the extent in the loss (3DGS-MCMC)
    # Removes Gaussians in a training camera's image at less than this share of the median depth of its start points.
    near: float = 0.0
    # Removes, once, Gaussians that have more than this share of their blending weights in one training camera. 1: none.
    single_view: float = 1.0
    single_view_at: float = 1.0  # share of the training after which that is
    # Smallest scale of a Gaussian, px in the training camera that shows it largest (after Mip-Splatting, Yu et al.,
    # CVPR 2024, whose filter is 0.45 px).
    smallest_px: float = 0.0
    depth: float = 0.0  # weight of the Huber loss between log depths of the image and of the start points it shows
    depth_delta: float = 0.05  # difference of log depths up to which that loss is quadratic

    def check(self) -> None:
        """Raises ValueError for a value that is out of its range."""
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if name in ("dropout", "near"):
                fits, words = 0 <= value < 1, "0 or more, and below 1"
            elif name in ("single_view", "single_view_at"):
                fits, words = 0 < value <= 1, "above 0, and at most 1"
            elif name == "depth_delta":
                fits, words = 0 < value < math.inf, "above 0"
            else:
                fits, words = 0 <= value < math.inf, "0 or more"
            if not fits:
                raise ValueError(f"generalise.{name} is {value:g}: give a number that is {words}")
