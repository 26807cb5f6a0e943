"""Image metrics, one row of METRICS each.

docs/extending/metric.md adds one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from engine.evaluation.lpips_network import Lpips
from engine.evaluation.lpips_weights import lpips_for
from engine.evaluation.metric_types import (
    Measure,
    Metric,
    MetricRequest,
    OpenedMetric,
    always_available,
    for_images_of,
)
from engine.evaluation.moving import RULE, moving_psnr, moving_ssim
from engine.evaluation.structure import BOX, MS_SSIM_SMALLEST, ms_ssim, scikit_dssim, scikit_ssim
from engine.settings.metric_protocols import LpipsNet, MetricProtocol, image_text, lpips_range
from losses.structural_similarity import RADIUS, ssim_map

STRIP = 128  # rows of an image whose SSIM a CPU computes at a time: they stay in its cache


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


def _lpips_opener(net: LpipsNet | None) -> Callable[[MetricRequest], OpenedMetric]:
    """`Metric.open` of LPIPS by a network; None: the protocol's."""

    def open_lpips(request: MetricRequest) -> OpenedMetric:
        chosen = net or request.protocol.lpips_net
        loaded = lpips_for(request.cameras, chosen, path=request.lpips_weights, device=request.device)
        measure = None if loaded.network is None else lpips_measure(loaded.network, request.protocol)
        return OpenedMetric(measure=measure, source=loaded.source)

    return open_lpips


def _lpips_row(net: LpipsNet) -> Metric:
    """LPIPS by the network that is not the protocol's own."""
    return Metric(
        name=f"lpips_{net}",
        label=f"LPIPS_{net}",
        unit="",
        higher_is_better=False,
        digits=4,
        definition=lambda protocol: f"{net} v0.1, inputs in {lpips_range(protocol)}",
        open=_lpips_opener(net),
        needs_network=True,
        optional=True,
        of_protocol=True,
    )


def _scikit_row(data_range: int, *, dissimilarity: bool) -> Metric:
    """The SSIM of scikit-image, or its DSSIM, for a data range."""
    label = f"{'D' if dissimilarity else ''}SSIM{data_range}"
    window = f"scikit-image: {BOX}x{BOX} uniform window inside the image, data range {data_range}, mean over frames"
    return Metric(
        name=label.lower(),
        label=label,
        unit="",
        higher_is_better=not dissimilarity,
        digits=4,
        definition=lambda protocol: f"(1 - SSIM) / 2, {window}" if dissimilarity else window,
        open=for_images_of(BOX, partial(scikit_dssim if dissimilarity else scikit_ssim, data_range=data_range)),
        optional=True,
        of_protocol=True,
    )


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
            open=_lpips_opener(None),
            needs_network=True,
        ),
        Metric(
            name="ms_ssim",
            label="MS-SSIM",
            unit="",
            higher_is_better=True,
            digits=4,
            definition=lambda protocol: (
                "Wang et al. 2003: 5 scales, 11x11 Gaussian window of sigma 1.5 inside the image, data range 1, mean "
                "over frames"
            ),
            open=for_images_of(MS_SSIM_SMALLEST, ms_ssim),
            optional=True,
        ),
        _lpips_row("alex"),
        _lpips_row("vgg"),
        _scikit_row(1, dissimilarity=False),
        _scikit_row(2, dissimilarity=False),
        _scikit_row(1, dissimilarity=True),
        _scikit_row(2, dissimilarity=True),
        Metric(
            name="psnr_moving",
            label="PSNR_moving",
            unit="dB",
            higher_is_better=True,
            digits=2,
            definition=lambda protocol: f"PSNR of the moving pixels, mean over frames that have some: {RULE}",
            open=always_available(moving_psnr, input="moving"),
            optional=True,
        ),
        Metric(
            name="ssim_moving",
            label="SSIM_moving",
            unit="",
            higher_is_better=True,
            digits=4,
            definition=lambda protocol: "mean of SSIM's map over the moving pixels of psnr_moving, mean over frames",
            open=always_available(moving_ssim, input="moving"),
            optional=True,
        ),
        Metric(
            name="tpsnr",
            label="tPSNR",
            unit="dB",
            higher_is_better=True,
            digits=2,
            definition=lambda protocol: (
                "PSNR, data range 1, of the image less the image before it against the same difference of the recorded "
                "frames, mean over consecutive frames of a camera"
            ),
            open=always_available(psnr, input="change"),
            optional=True,
        ),
    )
}


def describe_protocol(protocol: MetricProtocol) -> dict[str, str]:
    """A protocol and every metric's definition under it in words, for result files."""
    definitions = {metric.name: metric.definition(protocol) for metric in METRICS.values()}
    return {"name": protocol.name, "image": image_text(protocol), **definitions}


def shown_metrics(means: Mapping[str, Mapping[str, float | None]]) -> Sequence[Metric]:
    """The metrics that tables show for mean scores per method: an optional one only if it was measured."""
    return [
        metric
        for metric in METRICS.values()
        if not metric.optional or any(scores[metric.name] is not None for scores in means.values())
    ]


def heading(metric: Metric) -> str:
    """A metric's heading in a table: its label, with its unit where it has one."""
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label


def value_text(metric: Metric, value: float | None) -> str:
    """A value with the metric's decimals, without its unit; "-" where it was not measured."""
    return "-" if value is None else f"{value:.{metric.digits}f}"
