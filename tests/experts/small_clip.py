"""A clip of five frames without files: a coloured wall, a body that crosses it, one that comes late."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize
from torch import Tensor

from experts import Expert
from experts.training.gaussians.initial import identity_quats, neighbour_log_scales

NUM_FRAMES, ARRIVAL = 5, 3
NEAR, FAR = 0.2, 20.0
WIDTH, HEIGHT = 40, 30


@dataclass(frozen=True, kw_only=True)
class SmallPoints:
    """400 points: of the wall (300), of the crossing body (60), of the one that is there from ARRIVAL on (40)."""

    tracks: Tensor  # [400, NUM_FRAMES, 3]
    colours: Tensor  # [400, 3]
    counts: tuple[int, int, int] = (300, 60, 40)


def small_points() -> SmallPoints:
    generator = torch.Generator().manual_seed(0)
    frames = torch.arange(NUM_FRAMES)[None, :, None]

    def body(count: int, centre: list[float], size: list[float], step: list[float]) -> Tensor:
        start = torch.tensor(centre) + torch.tensor(size) * (torch.rand(count, 3, generator=generator) - 0.5)
        return start[:, None] + frames * torch.tensor(step)

    wall = body(300, [0.0, 0.0, 4.0], [3.0, 2.4, 0.06], [0.0, 0.0, 0.0])
    crossing = body(60, [-0.6, 0.2, 3.0], [0.5, 0.5, 0.5], [0.3, -0.1, 0.0])
    late = body(40, [0.7, -0.5, 3.2], [0.4, 0.4, 0.4], [0.0, 0.1, 0.0])
    colours = torch.cat([torch.rand(300, 3, generator=generator), 0.3 * torch.rand(100, 3, generator=generator)])
    return SmallPoints(tracks=torch.cat([wall, crossing, late]), colours=colours)


def camera(shift: float) -> Camera:
    pose = torch.eye(4)
    pose[0, 3] = -shift
    return Camera(world_to_camera=pose, fx=40, fy=40, cx=WIDTH / 2, cy=HEIGHT / 2, width=WIDTH, height=HEIGHT)


def true_image(points: SmallPoints, seen_from: Camera, frame: int) -> Tensor:
    """The points of a frame [3, h, w] as opaque balls about as large as their distances on the same body."""
    bodies = points.tracks[:, frame].split(points.counts)
    there = sum(points.counts[: 3 if frame >= ARRIVAL else 2])
    gaussians = Gaussians(
        means=points.tracks[:there, frame],
        scales=0.7 * torch.cat([neighbour_log_scales(body) for body in bodies])[:there].exp(),
        quats=identity_quats(there),
        opacities=torch.full((there,), 0.95),
        colours=points.colours[:there],
    )
    layer = Layer(gaussians=gaussians, settings=RasterSettings(near=NEAR), background=torch.ones(3))
    return rasterize([layer], seen_from)[0].colour


@torch.no_grad()
def shown(expert: Expert, seen_from: Camera, frame: int) -> Tensor:
    """An expert's image [3, h, w]."""
    background = torch.tensor(expert.background)
    layer = Layer(gaussians=expert.at(frame), settings=expert.settings, background=background)
    return expert.colour(rasterize([layer], seen_from)[0], seen_from, frame=frame)
