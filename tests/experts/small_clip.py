"""A clip of five frames without files: a coloured wall, a body that crosses it, one that comes late; two cameras."""

from __future__ import annotations

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from experts.fit.ex4dgs import initial_ex4dgs
from experts.fit.loop import TrainingViews, render
from experts.fit.points import TrackedPoints

NUM_FRAMES, ARRIVAL = 5, 3
NEAR, FAR = 0.2, 20.0
WIDTH, HEIGHT = 40, 30


def small_points() -> TrackedPoints:
    """300 points of the wall (body -1), 60 of a crossing body (4), 40 of one that is there from ARRIVAL on (7)."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.arange(NUM_FRAMES)[None, :, None]

    def body(count: int, centre: list[float], size: float, step: list[float]) -> Tensor:
        start = torch.tensor(centre) + size * (torch.rand(count, 3, generator=generator) - 0.5)
        return start[:, None] + frames * torch.tensor(step)

    wall = body(300, [0.0, 0.0, 0.0], 3.0, [0.0, 0.0, 0.0]) * torch.tensor([1.0, 0.8, 0.02]) + torch.tensor([0, 0, 4.0])
    tracks = [wall, body(60, [-0.6, 0.2, 3.0], 0.5, [0.3, -0.1, 0.0]), body(40, [0.7, -0.5, 3.2], 0.4, [0.0, 0.1, 0.0])]
    counts = [len(track) for track in tracks]
    bodies = torch.repeat_interleave(torch.tensor([-1, 4, 7]), torch.tensor(counts))
    present = (bodies != 7)[:, None] | (torch.arange(NUM_FRAMES) >= ARRIVAL)[None]
    colours = torch.cat([torch.rand(counts[0], 3, generator=generator), torch.rand(100, 3, generator=generator) * 0.3])
    return TrackedPoints(tracks=torch.cat(tracks), colours=colours, present=present, bodies=bodies)


def camera(shift: float) -> Camera:
    pose = torch.eye(4)
    pose[0, 3] = -shift
    return Camera(world_to_camera=pose, fx=40, fy=40, cx=WIDTH / 2, cy=HEIGHT / 2, width=WIDTH, height=HEIGHT)


def small_views(points: TrackedPoints) -> TrainingViews:
    """Pictures of the points themselves, as small opaque splats, from two cameras."""
    teacher = initial_ex4dgs(points, near=NEAR, far=FAR, interval=1.0, pad=0.0, opacity=0.95)
    cameras = [camera(0.0), camera(0.4)]
    with torch.no_grad():
        images = [[render(teacher, each, frame) for frame in range(NUM_FRAMES)] for each in cameras]
    return TrainingViews(
        cameras=cameras, numbers=[1, 2], num_frames=NUM_FRAMES, image=lambda view, frame: images[view][frame]
    )
