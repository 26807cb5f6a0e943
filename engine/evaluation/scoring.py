"""The scoring of rendered images against the true ones, the same for a mixture and for an expert alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from common.maths.tensors import image_from_uint8
from engine.evaluation.measures.clips import ClipRecorder
from engine.evaluation.measures.metric_types import Pair, TrueImage
from engine.evaluation.measures.metrics import METRICS, value_text
from engine.evaluation.measures.moving import MovingMasks
from engine.evaluation.measures.preparation import TRUTH, PreviousImages, prepared
from engine.evaluation.measures.suite import MetricSuite, Scores
from scenes import Scene, ViewFrame

AT_ONCE = 2**24  # numbers in images that a GPU compares at a time: fewer, larger kernels in less than 1 GB
Rendering = TypeVar("Rendering")
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredFrame(Generic[Rendering]):
    """A rendered and scored frame of a view."""

    view: int  # index into scene.views
    frame: int
    rendering: Rendering
    seconds: float  # of rendering it
    truth: np.ndarray  # uint8 [h, w, 3]
    scores: Mapping[str, Scores]  # per image of the rendering


def scored_frames(
    scene: Scene,
    view_frames: Iterable[ViewFrame],
    *,
    render: Callable[[ViewFrame], Rendering],
    images_of: Callable[[ViewFrame, Rendering, Tensor], Mapping[str, Tensor]],
    suite: MetricSuite,
    device: torch.device,
    clips: ClipRecorder | None = None,
    lead: Sequence[ViewFrame] = (),
) -> Iterator[ScoredFrame[Rendering]]:
    """Renders, times and scores one frame after another; of a frame, only its images stay, until the next is scored.

    render: returns when the device is done. images_of: the images [3, h, w] on it to score, by name, of a
    frame, from its rendering and the true image. clips: keeps the images for metrics of whole clips. lead: frames that
    are scored first and not given: the next ones are compared with them.
    """
    masks = MovingMasks(scene, device)
    previous = PreviousImages()
    for view_frame in chain(lead, view_frames):
        view, frame = view_frame
        start = time.perf_counter()
        rendering = render(view_frame)
        seconds = time.perf_counter() - start
        truth = scene.frames.read(view, frame)
        pixels = torch.tensor(truth, device=device)
        image = image_from_uint8(pixels)
        mask = masks.mask(view, pixels) if suite.needs("moving") else None
        reference = prepare_reference(suite, image, mask=mask, before=previous.before(view_frame, TRUTH))
        images = {
            name: prepared(suite.protocol, shown) for name, shown in images_of(view_frame, rendering, image).items()
        }
        scores = score_all(suite, images, reference, before=partial(previous.before, view_frame))
        if suite.needs("change"):
            previous.keep(view_frame, {TRUTH: reference.image, **images})
        if clips is not None and view_frame not in lead:
            clips.add(view_frame, images, truth)
        del images, reference  # features take much memory, and are gone before the next frame is rendered
        if view_frame not in lead:
            yield ScoredFrame(view=view, frame=frame, rendering=rendering, seconds=seconds, truth=truth, scores=scores)


@torch.no_grad()
def prepare_reference(
    suite: MetricSuite, truth: Tensor, *, mask: Tensor | None = None, before: Tensor | None = None
) -> TrueImage:
    """A true image [3, h, w] as the protocol wants it; 8-bit images divided by 255 are not changed by it.

    mask: bool [h, w], the pixels that move. before: the prepared true image one frame before. None: not measured.
    """
    return TrueImage(image=prepared(suite.protocol, truth.clamp(0, 1)), mask=mask, before=before)


def score(suite: MetricSuite, image: Tensor, reference: TrueImage, *, before: Tensor | None = None) -> Scores:
    """Scores of a rendered image [3, h, w] against the true one; before: the prepared image one frame before."""
    return score_all(suite, {"": prepared(suite.protocol, image)}, reference, before=lambda name: before)[""]


@torch.no_grad()
def score_all(
    suite: MetricSuite,
    images: Mapping[str, Tensor],
    reference: TrueImage,
    *,
    before: Callable[[str], Tensor | None],
) -> dict[str, Scores]:
    """Scores of prepared images [3, h, w] by name; a GPU is waited for once, after the last of them.

    before: the prepared image of a name one frame before.
    """
    measured: dict[tuple[str, str], Tensor | float] = {}
    measures = {name: opened.measure for name, opened in suite.metrics.items() if opened.measure is not None}
    for names in _batches(images):
        pairs = {name: Pair(image=images[name], truth=reference, before=before(name)) for name in names}
        together = _stacked(list(pairs.values()))
        for metric, measure in measures.items():
            if not together.has(measure.input):
                continue
            if measure.batched:
                found = torch.as_tensor(measure.compare(together)).reshape(-1)
                measured |= {(name, metric): value for name, value in zip(names, found, strict=True)}
            else:
                measured |= {(name, metric): measure.compare(pair) for name, pair in pairs.items()}
    values = _numbers(measured)
    return {name: {metric: values.get((name, metric)) for metric in suite.metrics} for name in images}


def _batches(images: Mapping[str, Tensor]) -> list[list[str]]:
    """Names of images that are compared at once: as many as AT_ONCE allows on a GPU, on a CPU one."""
    first = next(iter(images.values()))
    size = 1 if first.device.type == "cpu" else max(1, AT_ONCE // first.numel())
    names = list(images)
    return [names[start : start + size] for start in range(0, len(names), size)]


def _stacked(pairs: Sequence[Pair]) -> Pair:
    """Pairs of one frame as one of images [n, 3, h, w]; a pair alone stays as it is."""
    if len(pairs) == 1:
        return pairs[0]
    before = [pair.before for pair in pairs if pair.before is not None]
    return Pair(
        image=torch.stack([pair.image for pair in pairs]),
        truth=pairs[0].truth,
        before=torch.stack(before) if len(before) == len(pairs) else None,
    )


def _numbers(values: Mapping[Key, Tensor | float]) -> dict[Key, float]:
    """Values as Python numbers; all tensors come from a GPU in one copy."""
    tensors = {key: value for key, value in values.items() if isinstance(value, Tensor)}
    numbers = {key: value for key, value in values.items() if not isinstance(value, Tensor)}
    if tensors:
        copied = torch.stack([value.double() for value in tensors.values()]).tolist()
        numbers |= dict(zip(tensors, copied, strict=True))
    return numbers


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean over frames, each metric alone (the mean of PSNRs, not the PSNR of the mean error).

    A metric without a value in some frames has no mean. An optional one has the mean of the other frames.
    """
    return {name: _mean([item[name] for item in scores], some=METRICS[name].optional) for name in scores[0]}


def _mean(values: Sequence[float | None], *, some: bool) -> float | None:
    measured = [value for value in values if value is not None]
    return sum(measured) / len(measured) if measured and (some or len(measured) == len(values)) else None


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
