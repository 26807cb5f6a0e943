"""Views of the small clip, as training sees them, with start points on what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch

from experts.training.samplers import Sample
from experts.training.start import StartPoints
from experts.training.trainer import ExpertTrainer
from experts.training.views import TrainingViews
from tests.experts.small_clip import NUM_FRAMES, camera, small_points, true_image

SHIFTS = (0.0, 0.4)  # of the cameras


@cache
def true_images() -> list[list[torch.Tensor]]:
    """By camera and frame."""
    points = small_points()
    return [[true_image(points, camera(shift), frame) for frame in range(NUM_FRAMES)] for shift in SHIFTS]


class SmallViews:
    """Two cameras, five frames, 40 x 30 pixels."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.cameras, self.numbers, self.num_frames = [camera(shift) for shift in SHIFTS], numbers, NUM_FRAMES
        self.announced: list[Sample] = []
        self._images = true_images()

    def announce(self, samples) -> None:
        self.announced += samples

    def image(self, sample: Sample) -> torch.Tensor:
        return self._images[sample.view][sample.frame]


def small_views(numbers: Sequence[int] = (1, 2)) -> TrainingViews:
    """numbers: of the two cameras."""
    return SmallViews(numbers)


def small_start(*, every: int = 1) -> StartPoints:
    """Every so many-th point at the first frame."""
    points = small_points()
    return StartPoints(positions=points.tracks[::every, 0].clone(), colours=points.colours[::every].clone())


READ_EVERY = 20


@dataclass(frozen=True)
class Trained:
    """An iteration that is done."""

    iteration: int
    gaussians: int
    psnr: float | None = None
    loss: float | None = None


def train(trainer: ExpertTrainer, *, start: int = 0, backend: str = "auto") -> Iterator[Trained]:
    """Trains from the iteration after `start` to the recipe's last, one at a time, as the engine's loop does."""
    trainer.backend = backend
    last = trainer.recipe.iterations
    for iteration in range(start + 1, last + 1):
        for loss in trainer.losses(iteration):
            loss.backward()
        trainer.update(iteration)
        if iteration % READ_EVERY and iteration != last:
            yield Trained(iteration, trainer.count)
        else:
            value, psnr = trainer.read(iteration)
            yield Trained(iteration, trainer.count, psnr, value)
