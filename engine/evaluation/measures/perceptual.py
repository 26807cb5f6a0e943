"""Metrics of what people see, made by others: LPIPS on a network of ours, FLIP and ColorVideoVDP by their packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.evaluation.measures.lpips_network import Lpips
from engine.evaluation.measures.lpips_weights import LoadedLpips, lpips_for
from engine.evaluation.measures.metric_types import ClipPair, Measure, MetricRequest, OpenedMetric, Pair, TrueImage
from engine.evaluation.measures.moving import masked_mean
from engine.settings.rendering.metric_protocols import EXTRA_METRICS, LpipsNet, missing_package

DISPLAY = "standard_4k"  # ColorVideoVDP's name of a 30-inch 4K monitor of 200 cd/m^2, seen from 0.75 m in an office
FLIP_VIEW = "67 pixels per degree"  # FLIP's default: a 4K monitor, 0.7 m wide, seen from 0.7 m


def open_lpips(net: LpipsNet | None) -> Callable[[MetricRequest], OpenedMetric]:
    """`Metric.open` of LPIPS by a network; None: the protocol's."""

    def open_metric(request: MetricRequest) -> OpenedMetric:
        loaded = request.once(_loaded, net or request.protocol.lpips_net)
        measure = None if loaded.network is None else lpips_measure(loaded.network, request.protocol.lpips_rescaled)
        return OpenedMetric(measure=measure, source=loaded.source)

    return open_metric


def open_moving_lpips(request: MetricRequest) -> OpenedMetric:
    """`Metric.open` of LPIPS of the moving pixels, by the protocol's network."""
    network = request.once(_loaded, request.protocol.lpips_net).network
    if network is None:
        return OpenedMetric(measure=None, source="it needs the weights of LPIPS")
    compare = partial(moving_lpips, network=network, rescaled=request.protocol.lpips_rescaled)
    return OpenedMetric(measure=Measure(compare=compare, input="moving"))


def _loaded(request: MetricRequest, net: LpipsNet) -> LoadedLpips:
    return lpips_for(request.cameras, net, path=request.lpips_weights, device=request.device)


def lpips_measure(network: Lpips, rescaled: bool) -> Measure:
    """LPIPS by a network; rescaled: it is fed [-1, 1], otherwise [0, 1]."""
    return Measure(compare=lambda pair: sum(level.mean() for level in pair.once(_lpips_levels, network, rescaled)))


def moving_lpips(pair: Pair, *, network: Lpips, rescaled: bool) -> Tensor:
    """Mean of LPIPS's spatial map over the mask's pixels.

    The map is the sum of the levels' distances, each enlarged to the image bilinearly, as the package lpips makes it
    with `spatial=True`. Receptive fields reach beyond the mask.
    """
    size = pair.image.shape[-2:]
    enlarged = (
        interpolate(level[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        for level in pair.once(_lpips_levels, network, rescaled)
    )
    return masked_mean(torch.stack(list(enlarged)).sum(dim=0), pair.truth)


def _lpips_levels(pair: Pair, network: Lpips, rescaled: bool) -> list[Tensor]:
    return network.levels(_features(pair, network, rescaled), pair.truth.once(_features, network, rescaled))


def _features(image: Pair | TrueImage, network: Lpips, rescaled: bool) -> list[Tensor]:
    return network.features(image.image * 2 - 1 if rescaled else image.image)


def open_flip(request: MetricRequest) -> OpenedMetric:
    """`Metric.open` of LDR-FLIP (Andersson et al. 2020), by the package flip-evaluator, on the CPU."""
    package = _package("flip")
    if isinstance(package, OpenedMetric):
        return package
    return OpenedMetric(measure=Measure(compare=partial(_flip, package=package)))


def _flip(pair: Pair, *, package: Any) -> float:
    reference, test = pair.truth.once(_pixels), _pixels(pair)
    _, mean, _ = package.evaluate(reference, test, "LDR", inputsRGB=True, applyMagma=False)
    return float(mean)


def _pixels(image: Pair | TrueImage) -> np.ndarray:
    """An image as float32 [h, w, 3] in [0, 1], sRGB."""
    pixels: np.ndarray = image.image.clamp(0, 1).permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def open_cvvdp(request: MetricRequest) -> OpenedMetric:
    """`Metric.open` of ColorVideoVDP (Mantiuk et al. 2024), by the package cvvdp, on the request's device."""
    package = _package("cvvdp")
    if isinstance(package, OpenedMetric):
        return package
    metric = package.cvvdp(display_name=DISPLAY, heatmap=None, quiet=True, device=request.device)
    compare = partial(_cvvdp, metric=metric, frames_per_second=request.frames_per_second)
    return OpenedMetric(measure=Measure(compare=compare, input="clip"))


@torch.no_grad()
def _cvvdp(clip: ClipPair, *, metric: Any, frames_per_second: float) -> float:
    quality, _ = metric.predict(clip.images, clip.truths, dim_order="FHWC", frames_per_second=frames_per_second)
    return float(quality)


def _package(name: str) -> Any:
    """The imported package of an extra metric, or why it cannot be measured."""
    reason = missing_package(name)
    if reason is not None:
        return OpenedMetric(measure=None, source=reason)
    extra = EXTRA_METRICS[name]
    try:
        return importlib.import_module(extra.module)
    except (ImportError, RuntimeError, OSError) as error:  # of the packages that it needs in turn
        first = str(error).partition("\n")[0]
        return OpenedMetric(measure=None, source=f"{extra.module} cannot be imported: {first}; {extra.install}")
