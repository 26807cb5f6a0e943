"""Images as a metric protocol scores them, of the frame at hand and of the frame before it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from common.maths.tensors import rounded_to_uint8
from engine.settings.rendering.metric_protocols import MetricProtocol
from scenes import ViewFrame

TRUTH = ""  # key of the recorded image among rendered ones; no method has an empty name


def prepared(protocol: MetricProtocol, image: Tensor) -> Tensor:
    """Images [..., h, w] as the protocol scores them: clamped and rounded, or not."""
    image = image.float()
    if protocol.eight_bit:
        return rounded_to_uint8(image)
    return image.clamp(0, 1) if protocol.clamped else image


class PreviousImages:
    """The prepared images of the frame that was scored last."""

    def __init__(self) -> None:
        self._frame: ViewFrame | None = None
        self._images: dict[str, Tensor] = {}

    def before(self, view_frame: ViewFrame, name: str) -> Tensor | None:
        """The prepared image [3, h, w] of a name one frame before; None where that frame was not scored last."""
        view, frame = view_frame
        return self._images[name] if self._frame == (view, frame - 1) else None

    def keep(self, view_frame: ViewFrame, images: Mapping[str, Tensor]) -> None:
        """Keeps the prepared images [3, h, w] of a frame, by name, in place of the last ones."""
        self._frame, self._images = view_frame, dict(images)
