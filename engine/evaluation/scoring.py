"""The scoring of rendered images against the true ones, the same for a mixture and for an expert alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from common.tensors import image_from_uint8, rounded_to_uint8
from engine.evaluation.metrics import METRICS, Measure, MetricRequest, OpenedMetric, value_text
from engine.settings.metric_protocols import MetricProtocol
from scenes import Scene, ViewFrame

NOT_ASKED_FOR = OpenedMetric(measure=None, source="not asked for")

Scores = Mapping[str, float | None]  # value per name of METRICS, of an image or a mean of several; None: not measured
Rendering = TypeVar("Rendering")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSuite:
    """A protocol and its metrics, each ready or with the reason why it cannot be measured."""

    protocol: MetricProtocol
    metrics: Mapping[str, OpenedMetric]  # by name, in METRICS's order

    @property
    def unavailable(self) -> dict[str, str]:
        """The reason per metric that cannot be measured."""
        return {name: opened.source for name, opened in self.metrics.items() if opened.measure is None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceImage:
    """A true image, prepared once for several comparisons."""

    features: Mapping[str, Any]  # per metric that can be measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredFrame(Generic[Rendering]):
    """A rendered and scored frame of a view."""

    view: int  # index into scene.views
    frame: int
    rendering: Rendering
    seconds: float  # of rendering it
    truth: np.ndarray  # uint8 [h, w, 3]
    scores: Mapping[str, Scores]  # per image of the rendering


def open_suite(request: MetricRequest, *, networks: bool) -> MetricSuite:
    """Every metric of METRICS under a request; networks False: without those that need a network."""
    metrics = {
        metric.name: metric.open(request) if networks or not metric.needs_network else NOT_ASKED_FOR
        for metric in METRICS.values()
    }
    return MetricSuite(protocol=request.protocol, metrics=metrics)


def scored_frames(
    scene: Scene,
    view_frames: Iterable[ViewFrame],
    *,
    render: Callable[[ViewFrame], Rendering],
    images_of: Callable[[Rendering], Mapping[str, Tensor]],
    suite: MetricSuite,
    device: torch.device,
) -> Iterator[ScoredFrame[Rendering]]:
    """Renders, times and scores one frame after another; no frame is kept.

    render: returns when the device is done. images_of: the images [3, h, w] on it to score, by name.
    """
    for view, frame in view_frames:
        start = time.perf_counter()
        rendering = render((view, frame))
        seconds = time.perf_counter() - start
        truth = scene.frames.read(view, frame)
        scores = _score_all(suite, images_of(rendering), image_tensor(truth, device))
        yield ScoredFrame(view=view, frame=frame, rendering=rendering, seconds=seconds, truth=truth, scores=scores)


def _score_all(suite: MetricSuite, images: Mapping[str, Tensor], truth: Tensor) -> dict[str, Scores]:
    """Scores per image; features take much memory, and are gone before the next frame is rendered."""
    reference = prepare_reference(suite, truth)
    return {name: score(suite, image, reference) for name, image in images.items()}


@torch.no_grad()
def prepare_reference(suite: MetricSuite, truth: Tensor) -> ReferenceImage:
    """A true image [3, h, w] as the protocol wants it; 8-bit images divided by 255 are not changed by it."""
    prepared = _prepare(suite.protocol, truth.clamp(0, 1))
    measures = {name: opened.measure for name, opened in suite.metrics.items() if opened.measure is not None}
    return ReferenceImage(features={name: measure.features(prepared) for name, measure in measures.items()})


@torch.no_grad()
def score(suite: MetricSuite, image: Tensor, reference: ReferenceImage) -> Scores:
    """Scores of a rendered image [3, h, w] against the true one."""
    prepared = _prepare(suite.protocol, image)

    def value(name: str, measure: Measure | None) -> float | None:
        return None if measure is None else measure.compare(measure.features(prepared), reference.features[name])

    return {name: value(name, opened.measure) for name, opened in suite.metrics.items()}


def _prepare(protocol: MetricProtocol, image: Tensor) -> Tensor:
    image = image.float()
    return rounded_to_uint8(image) if protocol.eight_bit else image


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean over frames, each metric alone (the mean of PSNRs, not the PSNR of the mean error)."""
    return {name: _mean([item[name] for item in scores]) for name in scores[0]}


def _mean(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return sum(measured) / len(measured) if len(measured) == len(values) else None


def psnr_of(scores: Scores) -> float:
    """PSNR in dB, the metric that frames are ranked by; ValueError where it was not measured."""
    value = scores["psnr"]
    if value is None:
        raise ValueError("PSNR was not measured, and frames are ranked by it")
    return value


def scores_text(scores: Scores) -> str:
    """The metrics that were measured, for a log line: "PSNR 25.05 dB, SSIM 0.8954"."""
    measured = {METRICS[name]: value for name, value in scores.items() if value is not None}
    texts = ((metric.label, value_text(metric, value), metric.unit) for metric, value in measured.items())
    return ", ".join(" ".join(filter(None, text)) for text in texts)


def weights_facts(suite: MetricSuite | None) -> dict[str, str | None]:
    """`<metric>_weights` per metric with a network, for result files: their source, or why there are none.

    None for every metric where nothing was measured (suite None).
    """
    names = [metric.name for metric in METRICS.values() if metric.needs_network]
    return {f"{name}_weights": None if suite is None else suite.metrics[name].source for name in names}


def timed(seconds: Sequence[float]) -> Sequence[float]:
    """The seconds that count: the first frame warms up, and does not count when there are others."""
    return seconds[1:] or seconds


def mean_seconds(seconds: Sequence[float]) -> float:
    """Mean seconds a frame over those that count."""
    return statistics.fmean(timed(seconds))


def evenly_spread(count: int, wanted: int | None) -> list[int]:
    """`wanted` of the numbers 0 ... count - 1, evenly spread; all of them for None or more than there are."""
    chosen = count if wanted is None else min(wanted, count)
    return [index * count // chosen for index in range(chosen)]


def image_tensor(pixels: np.ndarray, device: torch.device) -> Tensor:
    """An image, uint8 [h, w, 3], as float32 [3, h, w] in [0, 1] on a device."""
    return image_from_uint8(torch.tensor(pixels, device=device), contiguous=False)
