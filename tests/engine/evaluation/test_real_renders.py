"""Metrics of published renders of a real scene, against evaluations with numpy and scipy alone."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, correlate1d

from engine.evaluation.measures.metric_types import MetricRequest
from engine.evaluation.measures.metrics import METRICS
from engine.evaluation.measures.moving import moving_mask
from engine.evaluation.measures.preparation import prepared
from engine.evaluation.measures.suite import MetricSuite
from engine.evaluation.scoring import prepare_reference, score
from engine.runs.device import CPU
from engine.settings.rendering.metric_protocols import PROTOCOLS
from tests.engine.evaluation.test_structure import ms_ssim_reference, scikit_reference

RANGES = {"reference_4dgs": (24.4, 25.7), "aggressive": (21.4, 22.1)}  # dB, as the data's README says
SPREAD = (0, 33, 66, 99, 133, 166, 199, 233, 266)  # nine of 300 frames
MEASURED = (0, 1)


@cache
def decoded(path: Path, numbers: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Frames of a video, uint8 [h, w, 3], by number."""
    found = {}
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in numbers:
                found[number] = frame.to_ndarray(format="rgb24")
            if number >= max(numbers):
                break
    return found


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def suite_of(protocol: str, names: Collection[str]) -> MetricSuite:
    """These metrics alone: others take seconds at this size."""
    request = MetricRequest(protocol=PROTOCOLS[protocol], cameras=(), device=CPU)
    opened = {name: metric.open(request) for name, metric in METRICS.items() if name in names}
    return MetricSuite(protocol=request.protocol, metrics=opened)


def gaussian_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """3DGS's SSIM map [h, w] of one channel, zeros beyond the border."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    line /= line.sum()

    def mean(image: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(image, line, axis=0, mode="constant"), line, axis=1, mode="constant")

    ma, mb = mean(a), mean(b)
    va, vb, vab = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    return (2 * ma * mb + 0.01**2) * (2 * vab + 0.03**2) / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2))


def psnr(error: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(np.square(error))))


def test_every_metric_without_a_network_is_that_of_numpy_and_scipy(shared):
    name = next(iter(RANGES))  # one clip: random images are compared with other packages in test_references.py
    folder = shared("data/coffee_martini_cam00")
    renders = decoded(folder / f"{name}.mp4", MEASURED)
    truths = decoded(folder / "gt_reference.mp4", tuple(sorted({*SPREAD, *MEASURED})))
    still = np.median(np.stack([truths[number] for number in SPREAD]), axis=0).astype(np.uint8)
    mask = moving_mask(torch.tensor(truths[1]), torch.tensor(still))
    assert 0.005 < float(mask.float().mean()) < 0.3

    networks = {name for name, metric in METRICS.items() if metric.needs_network}
    suite = suite_of("ex4dgs", METRICS.keys() - networks - {"flip"})  # which is the package's own: test_perceptual.py
    before = {kind: prepared(suite.protocol, tensor(frames[0])) for kind, frames in (("a", renders), ("b", truths))}
    reference = prepare_reference(suite, tensor(truths[1]), mask=mask, before=before["b"])
    scores = score(suite, tensor(renders[1]), reference, before=before["a"])

    a, b = renders[1] / 255, truths[1] / 255
    differs = (np.abs(truths[1].astype(int) - still.astype(int)) > 10).any(axis=-1)
    moving = convolve(differs.astype(int), np.ones((3, 3), dtype=int), mode="constant") >= 5
    maps = np.stack([gaussian_ssim(a[..., channel], b[..., channel]) for channel in range(3)], axis=-1)
    channels = (a.transpose(2, 0, 1), b.transpose(2, 0, 1))
    expected = {
        "psnr": psnr(a - b),
        "ssim": maps.mean(),
        "ms_ssim": ms_ssim_reference(*channels),
        "ssim1": scikit_reference(*channels, 1),
        "ssim2": scikit_reference(*channels, 2),
        "psnr_moving": psnr((a - b)[moving]),
        "ssim_moving": maps[moving].mean(),
        "tpsnr": psnr((a - renders[0] / 255) - (b - truths[0] / 255)),
    }
    lowest, highest = RANGES[name]
    assert lowest <= expected["psnr"] <= highest
    assert {metric: scores[metric] for metric in expected} == {
        metric: pytest.approx(value, abs=1e-4 if METRICS[metric].unit else 1e-5) for metric, value in expected.items()
    }
    assert scores["dssim1"] == pytest.approx((1 - expected["ssim1"]) / 2, abs=1e-5)


def test_the_mean_of_spread_frames_lies_in_the_known_range(shared):
    """Single frames may lie outside: 25.75 dB was seen."""
    folder = shared("data/coffee_martini_cam00")
    truths = decoded(folder / "gt_reference.mp4", tuple(sorted({*SPREAD, *MEASURED})))
    suite = suite_of("8bit", {"psnr"})
    for name, (lowest, highest) in RANGES.items():
        renders = decoded(folder / f"{name}.mp4", SPREAD)
        values = [
            score(suite, tensor(renders[number]), prepare_reference(suite, tensor(truths[number])))["psnr"]
            for number in SPREAD
        ]
        assert lowest <= np.mean(values) <= highest
