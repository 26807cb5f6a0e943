"""Random Gaussians all over a camera's view, for tests and benchmarks; no back-end uses them.

They serve this package's own tests and the repository's `benchmarks/`, which share no other place to keep them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .types import Camera, Gaussians

# Measured on small scenes trained with 3DGS-like methods: a Gaussian's spread in the image follows its share of the
# pixels (median 1.1 sqrt(pixels / Gaussians), log-normal with a deviation of about 0.8, some of it between the axes),
# and half of the opacities lie above 0.6, a tenth above 0.97.
MEDIAN_SPREAD = 1.1
SHARED_DEVIATION, AXIS_DEVIATION = 0.5, 0.6
OPACITY_LOGIT_MEAN, OPACITY_LOGIT_DEVIATION = 0.4, 2.5
NEAREST, FARTHEST = 2.0, 10.0  # depths, world units
BORDER = 0.05  # of the image's size, beyond each side
SH_DEVIATIONS = (1.0, 0.2)  # of the constant term and of the others


def random_scene(
    *,
    count: int,
    width: int,
    height: int,
    seed: int | torch.Generator = 0,
    sh_degree: int | None = 3,
    colour_channels: int = 3,
    centre_shift: tuple[float, float] = (0.0, 0.0),
) -> tuple[Gaussians, Camera]:
    """Gaussians [count] all over the view of a camera of about 60 degrees, and that camera.

    sh_degree: 0-3, or None for precomputed colours of `colour_channels`.
    centre_shift: principal point minus image centre, pixels.
    """
    draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    camera = turned_camera(width, height, centre_shift)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    depths = NEAREST + (FARTHEST - NEAREST) * torch.rand(count, generator=draw)
    spread = MEDIAN_SPREAD * math.sqrt(width * height / max(count, 1)) / camera.fx * depths.unsqueeze(1)
    coefficients = 0 if sh_degree is None else (sh_degree + 1) ** 2
    deviations = torch.full((coefficients, 1), SH_DEVIATIONS[1])
    deviations[:1] = SH_DEVIATIONS[0]
    gaussians = Gaussians(
        means=points_in_view(depths, camera, draw, BORDER),
        scales=spread * torch.exp(SHARED_DEVIATION * normal(count, 1) + AXIS_DEVIATION * normal(count, 3)),
        quats=torch.nn.functional.normalize(normal(count, 4), dim=1),
        opacities=torch.sigmoid(OPACITY_LOGIT_MEAN + OPACITY_LOGIT_DEVIATION * normal(count)),
        sh=normal(count, coefficients, 3) * deviations if coefficients else None,
        colours=None if coefficients else torch.rand(count, colour_channels, generator=draw),
    )
    return gaussians, camera


def turned_camera(width: int, height: int, centre_shift: tuple[float, float] = (0.0, 0.0)) -> Camera:
    """Camera of about 60 degrees, turned and moved away from the world's axes.

    centre_shift: principal point minus image centre, pixels.
    """
    angle = 0.4
    cos, sin = math.cos(angle), math.sin(angle)
    world_to_camera = torch.tensor([[cos, 0, sin, 0.3], [0, 1, 0, -0.2], [-sin, 0, cos, 0.5], [0, 0, 0, 1]])
    focal = 0.85 * max(width, height)
    return Camera(
        world_to_camera=world_to_camera,
        fx=focal,
        fy=focal,
        cx=width / 2 + centre_shift[0],
        cy=height / 2 + centre_shift[1],
        width=width,
        height=height,
    )


def points_in_view(depths: Tensor, camera: Camera, draw: torch.Generator, border: float) -> Tensor:
    """World points [n, 3] at these depths, all over the image and this share of its size beyond each side."""
    share = torch.rand(len(depths), 2, generator=draw) * (1 + 2 * border) - border
    x = (share[:, 0] * camera.width - camera.cx) / camera.fx * depths
    y = (share[:, 1] * camera.height - camera.cy) / camera.fy * depths
    points = torch.stack([x, y, depths], dim=1)
    camera_to_world = camera.camera_to_world
    return points @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]
