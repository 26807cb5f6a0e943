"""Small random scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings
from torch import Tensor


@dataclass(frozen=True)
class Output:
    """A reference's outputs for a layer, as arrays shaped like Splat's."""

    colour: np.ndarray
    features: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray
    radii: np.ndarray


def camera_of(width: int, height: int, *, turned: bool = True, shift: tuple[float, float] = (0.0, 0.0)) -> Camera:
    """A camera about 4 units from the origin, looking at it, with a principal point off the centre by shift pixels."""
    angle = 0.3 if turned else 0.0
    c, s = np.cos(angle), np.sin(angle)
    matrix = torch.tensor([[c, 0, s, 0.1], [0, 1, 0, -0.05], [-s, 0, c, 4.0], [0, 0, 0, 1]], dtype=torch.float64)
    return Camera(
        world_to_camera=matrix,
        fx=0.9 * width,
        fy=0.95 * width,
        cx=width / 2 + shift[0],
        cy=height / 2 + shift[1],
        width=width,
        height=height,
    )


def gaussians_of(count: int, seed: int, *, dtype: torch.dtype, sh: int = 0, channels: int = 3) -> Gaussians:
    """Gaussians around the origin, some behind or beside the camera; quaternions not unit; sh counts coefficients."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(*shape, generator=draw, dtype=torch.float64)).to(dtype)

    means = uniform(-1.6, 1.6, count, 3) * torch.tensor([1.0, 0.8, 1.5], dtype=dtype)
    means[::11, 2] -= 6
    return Gaussians(
        means=means,
        scales=uniform(-4.5, -0.9, count, 3).exp(),
        quats=torch.nn.functional.normalize(uniform(-1, 1, count, 4), dim=1) * uniform(0.9, 1.1, count, 1),
        opacities=uniform(0.02, 1.0, count),
        sh=uniform(-0.6, 0.6, count, sh, 3) if sh else None,
        colours=None if sh else uniform(0, 1, count, channels),
    )


def small_layer(
    count: int,
    seed: int = 0,
    *,
    dtype: torch.dtype = torch.float64,
    sh: int = 0,
    channels: int = 3,
    features: int = 0,
    settings: RasterSettings | None = None,
) -> Layer:
    gaussians = gaussians_of(count, seed, dtype=dtype, sh=sh, channels=channels)
    draw = torch.Generator().manual_seed(seed + 1)
    width = gaussians.colour_channels + features
    return Layer(
        gaussians=gaussians,
        settings=settings or RasterSettings(),
        background=torch.rand(width, generator=draw, dtype=torch.float64).to(dtype),
        features=torch.rand(count, features, generator=draw, dtype=torch.float64).to(dtype) if features else None,
    )
