"""Footage of the small clip, as training sees it, with start points on what it shows."""

from __future__ import annotations

import torch

from experts.fit.points import TrackedPoints
from experts.training.footage import Footage
from experts.training.points import StartPoints
from experts.training.shots import Shot
from tests.experts.small_clip import NUM_FRAMES, small_points, small_views


class SmallFootage:
    """Two cameras, five frames, 40 x 30 pixels."""

    def __init__(self, points: TrackedPoints) -> None:
        views = small_views(points)
        self.cameras, self.numbers, self.num_frames = views.cameras, views.numbers, NUM_FRAMES
        self.announced: list[Shot] = []
        self._image = views.image

    def announce(self, shots) -> None:
        self.announced += shots

    def image(self, shot: Shot) -> torch.Tensor:
        return self._image(shot.view, shot.frame)


def small_footage() -> Footage:
    return SmallFootage(small_points())


def small_start(*, every: int = 1) -> StartPoints:
    """Every so many-th point at the first frame."""
    points = small_points()
    return StartPoints(positions=points.tracks[::every, 0].clone(), colours=points.colours[::every].clone())
