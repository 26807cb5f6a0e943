"""Image metrics, one row of METRICS each.

docs/extending/metric.md adds one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from engine.evaluation.lpips_network import Lpips
from engine.evaluation.lpips_weights import lpips_for
from engine.settings.metric_protocols import MetricProtocol, lpips_range
from losses.structural_similarity import RADIUS, ssim_map

STRIP = 128  # rows of an image whose SSIM a CPU computes at a time: they stay in its cache


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRequest:
    """Everything that decides how a metric is measured, and whether it can be."""

    protocol: MetricProtocol
    cameras: Sequence[Camera]  # of the images
    device: torch.device  # of the images
    lpips_weights: Path | None = None  # None: those of the installed packages


def _unchanged(image: Tensor) -> Tensor:
    return image


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric that is ready: its value for an image is compare(features(image), features(reference image))."""

    compare: Callable[[Any, Any], float]
    features: Callable[[Tensor], Any] = _unchanged  # of a prepared image [3, h, w]; a reference's are computed once


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


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for data range 1, over all pixels and channels; infinite for equal images."""
    error = (a.double() - b.double()).square().mean()
    return float(-10 * torch.log10(error))


def measured_ssim(a: Tensor, b: Tensor) -> float:
    """3DGS's SSIM of two images [3, h, w] with data range 1, by strips of rows on a CPU (twice as fast)."""
    height, total = a.shape[-2], 0.0
    rows = STRIP if a.device.type == "cpu" else height
    for top in range(0, height, rows):
        first, last = max(0, top - RADIUS), min(height, top + rows + RADIUS)
        strip = ssim_map(a[:, first:last], b[:, first:last])[:, top - first : top - first + rows]
        total += float(strip[:, : height - top].double().sum())
    return total / a.numel()


def lpips_measure(network: Lpips, protocol: MetricProtocol) -> Measure:
    """LPIPS by a network, fed as the protocol says."""

    def features(image: Tensor) -> list[Tensor]:
        return network.features(image * 2 - 1 if protocol.lpips_rescaled else image)

    return Measure(features=features, compare=lambda a, b: float(network.distance(a, b)))


def _open_lpips(request: MetricRequest) -> OpenedMetric:
    protocol = request.protocol
    loaded = lpips_for(request.cameras, protocol.lpips_net, path=request.lpips_weights, device=request.device)
    measure = None if loaded.network is None else lpips_measure(loaded.network, protocol)
    return OpenedMetric(measure=measure, source=loaded.source)


def always_available(compare: Callable[[Tensor, Tensor], float]) -> Callable[[MetricRequest], OpenedMetric]:
    """`Metric.open` for a function of two prepared images [3, h, w] that needs nothing else."""
    return lambda request: OpenedMetric(measure=Measure(compare=compare))


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="psnr",
            label="PSNR",
            unit="dB",
            higher_is_better=True,
            digits=2,
            definition=lambda protocol: (
                "-10 log10(mean squared error over pixels and channels), data range 1, mean over frames"
            ),
            open=always_available(psnr),
        ),
        Metric(
            name="ssim",
            label="SSIM",
            unit="",
            higher_is_better=True,
            digits=4,
            definition=lambda protocol: (
                "3DGS: 11x11 Gaussian window of sigma 1.5, zero padding, data range 1, mean over frames"
            ),
            open=always_available(measured_ssim),
        ),
        Metric(
            name="lpips",
            label="LPIPS",
            unit="",
            higher_is_better=False,
            digits=4,
            definition=lambda protocol: f"{protocol.lpips_net} v0.1, inputs in {lpips_range(protocol)}",
            open=_open_lpips,
            needs_network=True,
        ),
    )
}


def describe_protocol(protocol: MetricProtocol) -> dict[str, str]:
    """A protocol and every metric's definition under it in words, for result files."""
    rounding = "clamped to [0, 1] and rounded to 8 bits" if protocol.eight_bit else "unclamped floats"
    definitions = {metric.name: metric.definition(protocol) for metric in METRICS.values()}
    return {"name": protocol.name, "image": rounding, **definitions}


def heading(metric: Metric) -> str:
    """A metric's heading in a table: its label, with its unit where it has one."""
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label


def value_text(metric: Metric, value: float | None) -> str:
    """A value with the metric's decimals, without its unit; "-" where it was not measured."""
    return "-" if value is None else f"{value:.{metric.digits}f}"
