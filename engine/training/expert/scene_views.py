"""A scene's training cameras and images, as the training of an expert sees them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from experts.training.samplers import Sample
from experts.training.trainer import AHEAD
from scenes import Scene
from scenes.frames.read_ahead import ReadAhead, slots_of

VALUES = 3  # a pixel


class SceneViews:
    """Implements TrainingViews: images are read ahead by threads, held-out cameras are not among them.

    Frames stay in the scene's cache on disk; `waiting_bytes` bounds what is in memory.
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


def disk_bytes(scene: Scene) -> int:
    """Bytes of the training cameras' frames in the cache on disk: 8 bits a value."""
    pixels = sum(scene.views[index].camera.width * scene.views[index].camera.height for index in scene.train)
    return VALUES * pixels * scene.num_frames


def waiting_bytes(scene: Scene, *, batch: int, gpu: bool) -> int:
    """Most memory that images read ahead take: those of AHEAD iterations, if --cache_mb is not less.

    It does not depend on the number of cameras and frames. For a GPU they wait with 8 bits a value, else with 32.
    """
    largest = max(scene.views[index].camera.width * scene.views[index].camera.height for index in scene.train)
    return min(AHEAD * batch, slots_of(scene, gpu=gpu)) * VALUES * (1 if gpu else 4) * largest
