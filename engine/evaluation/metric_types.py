"""The parts of a row of METRICS: a metric, its request, and the function that measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from engine.settings.metric_protocols import MetricProtocol

# What a metric compares: whole images [3, h, w]; MovingPixels; or an image less the same camera's image one frame
# before. A frame without moving pixels, or without a frame before it, has no value.
MetricInput = Literal["image", "moving", "change"]
NO_INPUT = {
    "moving": "too few pixels move in the recorded frames",
    "change": "it needs two consecutive frames of a camera",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRequest:
    """Everything that decides how a metric is measured, and whether it can be."""

    protocol: MetricProtocol
    cameras: Sequence[Camera]  # of the images
    device: torch.device  # of the images
    lpips_weights: Path | None = None  # None: those of the installed packages


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingPixels:
    """An image, and its pixels that move in the recorded frames."""

    image: Tensor  # [3, h, w]
    mask: Tensor  # bool [h, w], True somewhere


def _unchanged(image: Any) -> Any:
    return image


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric that is ready: its value for an image is compare(features(image), features(reference image))."""

    compare: Callable[[Any, Any], float]
    features: Callable[[Any], Any] = _unchanged  # of a prepared image [3, h, w]; a reference's are computed once
    input: MetricInput = "image"  # "moving": features get MovingPixels instead of an image


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
    of_protocol: bool = False  # measured only under protocols whose `extras` name it


def always_available(compare: Callable[[Any, Any], float], input: MetricInput = "image") -> _Open:
    """`Metric.open` for a function of two prepared images [3, h, w] that needs nothing else."""
    return lambda request: OpenedMetric(measure=Measure(compare=compare, input=input))


def for_images_of(pixels: int, compare: Callable[[Any, Any], float]) -> _Open:
    """`Metric.open` for a function of two images that are at least so many pixels high and wide."""

    def open_metric(request: MetricRequest) -> OpenedMetric:
        smallest = min((min(camera.width, camera.height) for camera in request.cameras), default=pixels)
        if smallest < pixels:
            reason = f"it needs images of at least {pixels} pixels a side; the smallest side is {smallest}"
            return OpenedMetric(measure=None, source=reason)
        return OpenedMetric(measure=Measure(compare=compare))

    return open_metric


_Open = Callable[[MetricRequest], OpenedMetric]
