"""Footage of the small clip, as training sees it, with start points on what it shows."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from experts.training.samplers import Sample
from experts.training.start import StartPoints
from experts.training.views import Footage
from tests.experts.small_clip import NUM_FRAMES, camera, small_points, true_image


class SmallFootage:
    """Two cameras, five frames, 40 x 30 pixels."""

    def __init__(self, numbers: Sequence[int]) -> None:
        points = small_points()
        self.cameras, self.numbers, self.num_frames = [camera(0.0), camera(0.4)], numbers, NUM_FRAMES
        self.announced: list[Sample] = []
        self._images = [[true_image(points, each, frame) for frame in range(NUM_FRAMES)] for each in self.cameras]

    def announce(self, samples) -> None:
        self.announced += samples

    def image(self, sample: Sample) -> torch.Tensor:
        return self._images[sample.view][sample.frame]


def small_footage(numbers: Sequence[int] = (1, 2)) -> Footage:
    """numbers: of the two cameras."""
    return SmallFootage(numbers)


def small_start(*, every: int = 1) -> StartPoints:
    """Every so many-th point at the first frame."""
    points = small_points()
    return StartPoints(positions=points.tracks[::every, 0].clone(), colours=points.colours[::every].clone())
