"""The frozen mixture as a teacher: its images at training cameras and at novel ones, and the gate of one expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from engine.runs.run import Run, mix_camera
from engine.training.expert.scene_views import SceneViews
from experts.training.samplers import Sample, ShuffledPass
from scenes import Scene, SceneError
from scenes.trajectories import interpolate, spiral

NOVEL_CAMERAS = 64  # of each of two paths, through the training cameras and around their middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A mixture's image, and the gate of the expert that learns."""

    mixture: Tensor  # [3, h, w] in 0 ... 1
    gate: Tensor  # [h, w] of the expert that learns


class TaughtViews:
    """Implements TrainingViews: the training cameras, then novel ones, whose images are the mixture's.

    The run's rules for novel views hold at novel cameras, which have no number. Use it as a context manager.
    """

    def __init__(self, run: Run, expert: str) -> None:
        self.recorded = SceneViews(run.scene, device=run.device)
        self.trained = len(self.recorded.cameras)
        self.cameras: tuple[Camera, ...] = (*self.recorded.cameras, *novel_cameras(run.scene))
        novel = len(self.cameras) - self.trained
        self.numbers: tuple[int | None, ...] = (*self.recorded.numbers, *[None] * novel)
        self.num_frames = run.scene.num_frames
        self._run = run
        self._index = [each.name for each in run.experts].index(expert)

    def announce(self, samples: Sequence[Sample]) -> None:
        """Begins to read the recorded ones among images that will be asked for soon, in this order."""
        self.recorded.announce([sample for sample in samples if self.is_recorded(sample)])

    def is_recorded(self, sample: Sample) -> bool:
        """True at a training camera."""
        return sample.view < self.trained

    def image(self, sample: Sample) -> Tensor:
        """The image [3, h, w] to be learned: recorded at a training camera, the mixture's at a novel one."""
        return self.recorded.image(sample) if self.is_recorded(sample) else self.lesson(sample).mixture

    def lesson(self, sample: Sample) -> Lesson:
        """The mixture's image, at the evaluation temperature, and the gate in it of the expert that learns."""
        camera, number = self.cameras[sample.view], self.numbers[sample.view]
        mixture = mix_camera(self._run, camera, sample.frame, camera_number=number)
        return Lesson(mixture=mixture.image.clamp(0, 1), gate=mixture.gates[self._index])

    def __enter__(self) -> TaughtViews:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.recorded.close()


def novel_cameras(scene: Scene) -> list[Camera]:
    """Cameras on the way from training camera to training camera, and on a spiral around their middle.

    Intrinsics and size are those of the first training camera. A rig without an up direction has no spiral.
    """
    views = [scene.views[index] for index in scene.train]
    cameras = interpolate(views, views[0].camera, NOVEL_CAMERAS)
    try:
        return cameras + spiral(views, views[0].camera, NOVEL_CAMERAS)
    except SceneError:
        return cameras


class TaughtSampler:
    """Images of training cameras in shuffled passes; a share of them is replaced by novel cameras at the same frame."""

    def __init__(self, views: TaughtViews, frames: range, *, share: float, batch: int, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._share = share
        self._trained, self._novel = views.trained, len(views.cameras) - views.trained
        self._recorded = ShuffledPass(
            views=views.trained, frames=len(frames), start=frames.start, batch=batch, generator=self._generator
        )

    def next(self, iteration: int) -> tuple[Sample, ...]:
        """The images of an iteration."""
        return tuple(self._replaced(sample) for sample in self._recorded.next(iteration))

    def _replaced(self, sample: Sample) -> Sample:
        if torch.rand((), generator=self._generator) >= self._share:
            return sample
        novel = int(torch.randint(self._novel, (), generator=self._generator))
        return Sample(view=self._trained + novel, frame=sample.frame)
