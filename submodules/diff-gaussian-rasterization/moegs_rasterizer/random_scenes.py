"""Random Gaussians that cost the rasterizer what trained ones do, for profiles, benchmarks and tests."""

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

# The scene of the GPU benchmark. A wider border would leave less to render of as many Gaussians.
BENCHMARK_MEDIAN_SIGMA, BENCHMARK_LOG_DEVIATION = 2.2, 0.8  # pixels, each axis on its own
BENCHMARK_OPACITY_LOGITS = (-0.3, 2.0)  # mean, deviation
BENCHMARK_NEAREST, BENCHMARK_FARTHEST = 4.5, 22.5
BENCHMARK_BORDER = 1 / 30
BENCHMARK_SH_DEVIATIONS = (1.0, 0.2, 0.1, 0.05)  # of each degree


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
    camera = _camera(width, height, centre_shift)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    depths = NEAREST + (FARTHEST - NEAREST) * torch.rand(count, generator=draw)
    spread = MEDIAN_SPREAD * math.sqrt(width * height / max(count, 1)) / camera.fx * depths.unsqueeze(1)
    coefficients = 0 if sh_degree is None else (sh_degree + 1) ** 2
    deviations = torch.full((coefficients, 1), SH_DEVIATIONS[1])
    deviations[:1] = SH_DEVIATIONS[0]
    gaussians = Gaussians(
        means=_means(depths, camera, draw, BORDER),
        scales=spread * torch.exp(SHARED_DEVIATION * normal(count, 1) + AXIS_DEVIATION * normal(count, 3)),
        quats=torch.nn.functional.normalize(normal(count, 4), dim=1),
        opacities=torch.sigmoid(OPACITY_LOGIT_MEAN + OPACITY_LOGIT_DEVIATION * normal(count)),
        sh=normal(count, coefficients, 3) * deviations if coefficients else None,
        colours=None if coefficients else torch.rand(count, colour_channels, generator=draw),
    )
    return gaussians, camera


def trained_like_scene(
    *, count: int, width: int, height: int, seed: int, sh_degree: int = 3
) -> tuple[Gaussians, Camera]:
    """Gaussians [count] of small trained size all over the view of a camera of about 60 degrees, and that camera.

    Depths are uniform in 4.5-22.5; each axis projects to a log-normal sigma (median 2.2 px, deviation 0.8 of its
    logarithm) whatever the image's size; rotations are uniform; opacities are sigmoid(normal(-0.3, 2)); spherical
    harmonics of degree 0-3 fall by degree. Drawn on the CPU, so that every device sees the same bits.
    """
    draw = torch.Generator().manual_seed(seed)
    camera = _camera(width, height, (0.0, 0.0))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    depths = BENCHMARK_NEAREST + (BENCHMARK_FARTHEST - BENCHMARK_NEAREST) * torch.rand(count, generator=draw)
    sigmas = BENCHMARK_MEDIAN_SIGMA * torch.exp(BENCHMARK_LOG_DEVIATION * normal(count, 3))
    logit_mean, logit_deviation = BENCHMARK_OPACITY_LOGITS
    bands = [torch.full((2 * degree + 1, 1), BENCHMARK_SH_DEVIATIONS[degree]) for degree in range(sh_degree + 1)]
    gaussians = Gaussians(
        means=_means(depths, camera, draw, BENCHMARK_BORDER),
        scales=sigmas * depths.unsqueeze(1) / camera.fx,
        quats=torch.nn.functional.normalize(normal(count, 4), dim=1),
        opacities=torch.sigmoid(logit_mean + logit_deviation * normal(count)),
        sh=normal(count, (sh_degree + 1) ** 2, 3) * torch.cat(bands),
    )
    return gaussians, camera


def _camera(width: int, height: int, centre_shift: tuple[float, float]) -> Camera:
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


def _means(depths: Tensor, camera: Camera, draw: torch.Generator, border: float) -> Tensor:
    """World points [n, 3] at these depths, all over the image and this share of its size beyond each side."""
    share = torch.rand(len(depths), 2, generator=draw) * (1 + 2 * border) - border
    x = (share[:, 0] * camera.width - camera.cx) / camera.fx * depths
    y = (share[:, 1] * camera.height - camera.cy) / camera.fy * depths
    points = torch.stack([x, y, depths], dim=1)
    camera_to_world = camera.camera_to_world
    return points @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]
