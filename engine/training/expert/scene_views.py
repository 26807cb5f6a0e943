"""A scene's training cameras and images, as the training of an expert sees them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from experts.training.samplers import Sample
from scenes import Scene
from scenes.frames.read_ahead import ReadAhead


class SceneViews:
    """Implements TrainingViews: images are read ahead by threads, held-out cameras are not among them.

    Frames stay in the scene's cache on disk; `engine.runs.cost.waiting_bytes` bounds what is in memory.
    """

    def __init__(self, scene: Scene, *, device: torch.device) -> None:
        self.cameras = tuple(scene.views[index].camera for index in scene.train)
        self.numbers = tuple(scene.views[index].number for index in scene.train)
        self.num_frames = scene.num_frames
        self._views = scene.train
        self._images = ReadAhead(scene, device=device)

    def announce(self, samples: Sequence[Sample]) -> None:
        """Begins to read images that will be asked for soon, in this order."""
        self._images.announce((self._views[sample.view], sample.frame) for sample in samples)

    def image(self, sample: Sample) -> Tensor:
        """Image [3, h, w] in 0 ... 1, float32, on the device of training."""
        return self._images.image((self._views[sample.view], sample.frame))

    def close(self) -> None:
        """Stops reading."""
        self._images.close()
