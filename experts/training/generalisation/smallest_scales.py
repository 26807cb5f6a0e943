"""The smallest scales that training cameras can tell from a point (after Mip-Splatting, Yu et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from experts.training.gaussians.population import Population
from experts.training.gaussians.visibility import in_image


def pixel_sizes(means: Tensor, cameras: Sequence[Camera]) -> Tensor:
    """Length [n] at means [n, 3] that is a pixel in the camera that shows it largest; 0 where none shows it.

    Depth over focal length, the smallest over cameras (Mip-Splatting, eq. 7).
    """
    sizes = means.new_full((len(means),), torch.inf)
    for camera in cameras:
        depths, _, shown = in_image(means, camera)
        here = depths / max(camera.fx, camera.fy)
        sizes = torch.where(shown, torch.minimum(sizes, here), sizes)
    return torch.where(sizes.isinf(), torch.zeros_like(sizes), sizes)


@torch.no_grad()
def raise_scales(population: Population, floors: Tensor) -> None:
    """Raises log scales to floors [n], in place: the optimiser's moments stay."""
    log_scales = population["log_scales"]
    torch.maximum(log_scales, floors[:, None], out=log_scales.data)
