"""Images as a metric protocol scores them, of the frame at hand and of the frame before it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.tensors import from_uint8, quantised, rounded_to_uint8
from engine.settings.metric_protocols import MetricProtocol
from scenes import ViewFrame

TRUTH = ""  # key of the recorded image among rendered ones; no method has an empty name


def prepared(protocol: MetricProtocol, image: Tensor) -> Tensor:
    """Images [..., h, w] as the protocol scores them: clamped and rounded, or not."""
    image = image.float()
    if protocol.eight_bit:
        return rounded_to_uint8(image)
    return image.clamp(0, 1) if protocol.clamped else image


class PreviousImages:
    """The prepared images of the frame that was scored last; images that are rounded to 8 bits take 8 bits."""

    def __init__(self, protocol: MetricProtocol) -> None:
        self._protocol = protocol
        self._frame: ViewFrame | None = None
        self._images: dict[str, Tensor] = {}

    def before(self, view_frame: ViewFrame, name: str) -> Tensor | None:
        """The prepared image [3, h, w] of a name one frame before; None where that frame was not scored last."""
        view, frame = view_frame
        if self._frame != (view, frame - 1):
            return None
        image = self._images[name]
        return from_uint8(image) if image.dtype == torch.uint8 else image

    def keep(self, view_frame: ViewFrame, images: Mapping[str, Tensor]) -> None:
        """Keeps the images [3, h, w] of a frame, by name, in place of the last ones."""
        self._frame = view_frame
        self._images = {name: self._kept(image) for name, image in images.items()}

    def _kept(self, image: Tensor) -> Tensor:
        return quantised(image.float()) if self._protocol.eight_bit else prepared(self._protocol, image)
