"""Random Gaussians as small as trained ones: the scenes of the GPU's table and of the profile of a training step."""

from __future__ import annotations

import torch
from moegs_rasterizer.random_scenes import points_in_view, turned_camera
from moegs_rasterizer.types import Camera, Gaussians
from torch import Tensor

MEDIAN_SIGMA, LOG_DEVIATION = 2.2, 0.8  # pixels, each axis on its own
OPACITY_LOGITS = (-0.3, 2.0)  # mean, deviation
DEPTHS = (4.5, 22.5)  # least, most, world units
MARGIN = 1 / 30  # of the image's size, beyond each side; a wider one leaves less to render of as many Gaussians
BAND_DEVIATIONS = (1.0, 0.2, 0.1, 0.05)  # of each degree


def trained_like_scene(
    *, count: int, width: int, height: int, seed: int, sh_degree: int = 3
) -> tuple[Gaussians, Camera]:
    """Gaussians [count] of small trained size all over the view of a camera of about 60 degrees, and that camera.

    Depths are uniform in 4.5-22.5; each axis projects to a log-normal sigma (median 2.2 px, deviation 0.8 of its
    logarithm) whatever the image's size; rotations are uniform; opacities are sigmoid(normal(-0.3, 2)); spherical
    harmonics of degree 0-3 fall by degree. Drawn on the CPU, so that every device sees the same bits.
    """
    draw = torch.Generator().manual_seed(seed)
    camera = turned_camera(width, height)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    nearest, farthest = DEPTHS
    depths = nearest + (farthest - nearest) * torch.rand(count, generator=draw)
    sigmas = MEDIAN_SIGMA * torch.exp(LOG_DEVIATION * normal(count, 3))
    logit_mean, logit_deviation = OPACITY_LOGITS
    bands = [torch.full((2 * degree + 1, 1), BAND_DEVIATIONS[degree]) for degree in range(sh_degree + 1)]
    gaussians = Gaussians(
        means=points_in_view(depths, camera, draw, MARGIN),
        scales=sigmas * depths.unsqueeze(1) / camera.fx,
        quats=torch.nn.functional.normalize(normal(count, 4), dim=1),
        opacities=torch.sigmoid(logit_mean + logit_deviation * normal(count)),
        sh=normal(count, (sh_degree + 1) ** 2, 3) * torch.cat(bands),
    )
    return gaussians, camera
