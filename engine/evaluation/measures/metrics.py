"""Image metrics, one row of METRICS each.

docs/extending/metric.md adds one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from engine.evaluation.measures.metric_types import Metric, always_available, for_images_of
from engine.evaluation.measures.moving import RULE, moving_psnr, moving_ssim
from engine.evaluation.measures.perceptual import (
    DISPLAY,
    FLIP_VIEW,
    open_cvvdp,
    open_flip,
    open_lpips,
    open_moving_lpips,
)
from engine.evaluation.measures.psnr import psnr_of_changes, psnr_of_pair
from engine.evaluation.measures.structure import BOX, MS_SSIM_SMALLEST, ms_ssim, scikit_dssim, scikit_ssim, ssim
from engine.settings.rendering.metric_protocols import LpipsNet, MetricProtocol, image_text, lpips_range


def _lpips_row(net: LpipsNet) -> Metric:
    """LPIPS by the network that is not the protocol's own."""
    return Metric(
        name=f"lpips_{net}",
        label=f"LPIPS_{net}",
        unit="",
        higher_is_better=False,
        digits=4,
        definition=lambda protocol: f"{net} v0.1, inputs in {lpips_range(protocol)}",
        open=open_lpips(net),
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
            open=always_available(psnr_of_pair, batched=True),
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
            open=always_available(ssim, batched=True),
        ),
        Metric(
            name="lpips",
            label="LPIPS",
            unit="",
            higher_is_better=False,
            digits=4,
            definition=lambda protocol: f"{protocol.lpips_net} v0.1, inputs in {lpips_range(protocol)}",
            open=open_lpips(None),
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
            open=for_images_of(MS_SSIM_SMALLEST, ms_ssim, batched=True),
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
            open=always_available(moving_psnr, "moving", batched=True),
            optional=True,
        ),
        Metric(
            name="ssim_moving",
            label="SSIM_moving",
            unit="",
            higher_is_better=True,
            digits=4,
            definition=lambda protocol: "mean of SSIM's map over the moving pixels of psnr_moving, mean over frames",
            open=always_available(moving_ssim, "moving", batched=True),
            optional=True,
        ),
        Metric(
            name="lpips_moving",
            label="LPIPS_moving",
            unit="",
            higher_is_better=False,
            digits=4,
            definition=lambda protocol: (
                f"mean of the spatial map of LPIPS ({protocol.lpips_net} v0.1, inputs in {lpips_range(protocol)}) over "
                "the moving pixels of psnr_moving, mean over frames"
            ),
            open=open_moving_lpips,
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
            open=always_available(psnr_of_changes, "change", batched=True),
            optional=True,
        ),
        Metric(
            name="flip",
            label="FLIP",
            unit="",
            higher_is_better=False,
            digits=4,
            definition=lambda protocol: (
                f"LDR-FLIP (Andersson et al. 2020) by flip-evaluator, {FLIP_VIEW}, "
                "sRGB, mean over pixels, mean over frames"
            ),
            open=open_flip,
            optional=True,
            of_protocol=True,
        ),
        Metric(
            name="cvvdp",
            label="CVVDP",
            unit="JOD",
            higher_is_better=True,
            digits=3,
            definition=lambda protocol: (
                f"ColorVideoVDP (Mantiuk et al. 2024) by cvvdp, display {DISPLAY}, at the frames per second of the "
                "footage, images rounded to 8 bits; of each camera's clip as a whole, recorded with each of its frames"
            ),
            open=open_cvvdp,
            optional=True,
            of_protocol=True,
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
