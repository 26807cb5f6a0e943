"""The views of a scene as stage 1 reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from moegs_rasterizer import Camera
from torch import Tensor

from experts.training.samplers import Sample


class TrainingViews(Protocol):
    """The training cameras of a clip and their images."""

    @property
    def cameras(self) -> Sequence[Camera]:
        """One for each view; held-out cameras are not among them."""
        ...

    @property
    def numbers(self) -> Sequence[int | None]:
        """Each camera's number, for experts with parameters for each camera; None: a camera without any."""
        ...

    @property
    def num_frames(self) -> int: ...

    def announce(self, samples: Sequence[Sample]) -> None:
        """Announces images that will be asked for soon, in this order: reading may begin."""
        ...

    def image(self, sample: Sample) -> Tensor:
        """Image [3, h, w] in 0 ... 1, float32, on the device of training."""
        ...
