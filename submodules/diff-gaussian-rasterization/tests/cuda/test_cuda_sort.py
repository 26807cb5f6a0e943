"""Lists of any length are in order: csrc/cuda/sort.cuh sorts few pairs, many and most in parts of different sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize

pytestmark = pytest.mark.cuda

SIDE = 256  # pixels
NEXT_FLOAT = 2.0**-21  # from 4 to 8


def cloud(count: int) -> tuple[Gaussians, Camera]:
    """Faint Gaussians of a pixel or two, no two at the same depth: every one of them changes the image."""
    generator = torch.Generator().manual_seed(count)
    depths = 4 + NEXT_FLOAT * torch.randperm(count, generator=generator)
    places = 2 * torch.rand(count, 2, generator=generator) - 1
    gaussians = Gaussians(
        means=torch.cat((places * depths[:, None], depths[:, None]), 1),
        scales=torch.full((count, 3), 1e-4),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacities=torch.full((count,), 0.05),
        colours=torch.rand(count, 3, generator=generator),
    )
    half = SIDE / 2
    camera = Camera(world_to_camera=torch.eye(4), fx=half, fy=half, cx=half, cy=half, width=SIDE, height=SIDE)
    return gaussians, camera


def each(gaussians: Gaussians, change: Callable[[torch.Tensor], torch.Tensor]) -> Gaussians:
    given = {one.name: getattr(gaussians, one.name) for one in fields(gaussians)}
    return Gaussians(**{name: None if tensor is None else change(tensor) for name, tensor in given.items()})


def colour_of(gaussians: Gaussians, camera: Camera, device: str) -> torch.Tensor:
    here = each(gaussians, lambda tensor: tensor.to(device))
    layer = Layer(gaussians=here, settings=RasterSettings(), background=torch.zeros(3, device=device))
    return rasterize([layer], camera)[0].colour.cpu()


@pytest.mark.parametrize("count", [300_000, 600_000, 900_000])
def test_the_order_of_rows_does_not_matter(count):
    gaussians, camera = cloud(count)
    colour = colour_of(gaussians, camera, "cuda")
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    shuffled = each(gaussians, lambda tensor: tensor[rows])
    assert torch.equal(colour_of(shuffled, camera, "cuda"), colour)
    torch.testing.assert_close(colour, colour_of(gaussians, camera, "cpu"), rtol=0, atol=1e-4)
