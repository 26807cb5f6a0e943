"""The parts of a row of METRICS: a metric, its request, and the function that measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from moegs_rasterizer import Camera
from torch import Tensor

from engine.outputs.video import FPS
from engine.settings.rendering.metric_protocols import MetricProtocol

Result = TypeVar("Result")

# What a metric compares: whole images; the pixels that move; an image less the same camera's image one frame before; or
# all frames of a camera. A frame without moving pixels, or without a frame before it, has no value.
MetricInput = Literal["image", "moving", "change", "clip"]
NO_INPUT = {
    "moving": "too few pixels move in the recorded frames",
    "change": "it needs two consecutive frames of a camera",
    "clip": "it needs consecutive frames of a camera, two or more",
}


@dataclass(frozen=True, kw_only=True)
class Remembering:
    """A value that remembers what metrics computed of it, so that several metrics share one computation."""

    _results: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, compute: Callable[..., Result], *given: Any) -> Result:
        """compute(self, *given), the first time only; given: hashable."""
        key = (compute, *given)
        if key not in self._results:
            self._results[key] = compute(self, *given)
        result: Result = self._results[key]
        return result


@dataclass(frozen=True, kw_only=True)
class MetricRequest(Remembering):
    """Everything that decides how a metric is measured, and whether it can be."""

    protocol: MetricProtocol
    cameras: Sequence[Camera]  # of the images
    device: torch.device  # of the images
    lpips_weights: Path | None = None  # None: those of the installed packages
    asked: Sequence[str] = ()  # names of metrics of EXTRA_METRICS to measure besides the protocol's
    frames_per_second: float = FPS  # of the footage, for metrics of a clip


@dataclass(frozen=True, kw_only=True)
class TrueImage(Remembering):
    """A recorded image, with which several rendered ones are compared; all of them prepared."""

    image: Tensor  # [3, h, w]
    mask: Tensor | None = None  # bool [h, w], True somewhere: the pixels that move; None: not measured
    before: Tensor | None = None  # the recorded image one frame before; None: not measured


@dataclass(frozen=True, kw_only=True)
class Pair(Remembering):
    """A rendered image beside the recorded one; for a batched measure, several rendered images of a frame."""

    image: Tensor  # [3, h, w] or [n, 3, h, w], prepared
    truth: TrueImage
    before: Tensor | None = None  # the rendered images one frame before; None: not measured

    def has(self, wanted: MetricInput) -> bool:
        """True where there is what a metric compares."""
        if wanted == "change":
            return self.before is not None and self.truth.before is not None
        return wanted == "image" or (wanted == "moving" and self.truth.mask is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPair:
    """All scored frames of a camera beside the recorded ones, uint8 [frames, h, w, 3]."""

    images: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric that is ready."""

    compare: Callable[[Any], Tensor | float]  # of a Pair, for "clip" of a ClipPair; a tensor has no dimension
    input: MetricInput = "image"
    batched: bool = False  # a Pair may hold images [n, 3, h, w], and the tensor is then [n]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedMetric:
    """A metric under a request."""

    measure: Measure | None  # None: it cannot be measured
    source: str = ""  # where its network's weights came from, or why it cannot be measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A row of METRICS."""

    name: str  # its key in result files
    label: str  # its heading in tables
    unit: str  # empty for a pure number
    higher_is_better: bool
    digits: int  # decimals in tables
    definition: Callable[[MetricProtocol], str]  # for result files
    open: Callable[[MetricRequest], OpenedMetric]
    needs_network: bool = False  # result files tell its weights' source; not measured on the way through a training
    optional: bool = False  # its column is shown only if it was measured; not measured on the way through a training
    of_protocol: bool = False  # measured only under protocols whose `extras` name it, and where it was asked for


def always_available(
    compare: Callable[[Pair], Tensor | float], input: MetricInput = "image", *, batched: bool = False
) -> _Open:
    """`Metric.open` for a function of a Pair that needs nothing else; batched: see Measure."""
    return lambda request: OpenedMetric(measure=Measure(compare=compare, input=input, batched=batched))


def for_images_of(pixels: int, compare: Callable[[Pair], Tensor | float], *, batched: bool = False) -> _Open:
    """`Metric.open` for a function of a Pair of images that are at least so many pixels high and wide."""

    def open_metric(request: MetricRequest) -> OpenedMetric:
        smallest = min((min(camera.width, camera.height) for camera in request.cameras), default=pixels)
        if smallest < pixels:
            reason = f"it needs images of at least {pixels} pixels a side; the smallest side is {smallest}"
            return OpenedMetric(measure=None, source=reason)
        return OpenedMetric(measure=Measure(compare=compare, batched=batched))

    return open_metric


def change(truth: TrueImage) -> Tensor:
    """The recorded image less the one before."""
    assert truth.before is not None
    return truth.image - truth.before


_Open = Callable[[MetricRequest], OpenedMetric]
