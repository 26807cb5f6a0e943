"""A call in a CUDA graph: what its replays report, and where they see from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import Camera, RasterizerError
from ..validation import check_camera
from ..views import camera_numbers
from .words import error_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedCall:
    """A call in a CUDA graph, and the report of its latest replay: synchronise before you read it."""

    words: Tensor  # [WORDS] in pinned memory
    views: Tensor  # [layers, VIEW] in pinned memory: replays read them
    size: tuple[int, int]  # pixels, width and height
    capacity: int  # instances that the graph has memory for
    first_layer: int

    @property
    def instances(self) -> int:
        """Instances of the latest replay; 0 before the first."""
        return int(self.words[-1])

    @property
    def overflowed(self) -> bool:
        """True where the latest replay had more instances than memory: it took longer and gave the same bits."""
        return self.instances > self.capacity

    def look_from(self, camera: Camera) -> None:
        """Let replays from now on see from this camera, which must have the captured one's image size.

        A replay that the GPU has not begun yet sees from it, too: synchronise before where that matters. Raises
        RasterizerError for a camera that cannot be used.
        """
        check_camera(camera)
        if (camera.width, camera.height) != self.size:
            raise RasterizerError(
                f"camera: the image is {camera.width}x{camera.height}, but the graph's is "
                f"{self.size[0]}x{self.size[1]}; capture the call anew"
            )
        numbers = torch.tensor(camera_numbers(camera), dtype=torch.float64)
        self.views[:, : len(numbers)] = numbers

    def check(self) -> None:
        """Raise RasterizerError where the latest replay met bad values; its images are NaN."""
        sequence, *faults, _ = self.words.tolist()
        error = error_of(faults, self.first_layer) if sequence else None
        if error is not None:
            raise RasterizerError(error)
