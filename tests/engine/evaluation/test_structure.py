"""MS-SSIM and scikit-image's SSIM against evaluations of their formulas with scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, uniform_filter

from engine.evaluation.measures.metric_types import MetricRequest, Pair, TrueImage
from engine.evaluation.measures.metrics import METRICS
from engine.evaluation.measures.structure import MS_SSIM_SMALLEST, MS_SSIM_WEIGHTS, ms_ssim, scikit_dssim, scikit_ssim
from engine.evaluation.measures.suite import open_suite
from engine.evaluation.scoring import prepare_reference, score
from engine.runs.device import CPU
from engine.settings.rendering.metric_protocols import PROTOCOLS
from tests.small_world import camera


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = uniform_filter(rng.random((3, height, width)), size=(1, 9, 9)) * 3 - 1
    return np.clip(a, 0, 1), np.clip(a + rng.normal(0, 0.08, a.shape), 0, 1)


def compared(a: np.ndarray, b: np.ndarray) -> Pair:
    return Pair(image=torch.from_numpy(a), truth=TrueImage(image=torch.from_numpy(b)))


def scikit_reference(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    """structural_similarity's defaults, written down with scipy: filter everything, then crop 3 pixels."""
    values = []
    for x, y in zip(a, b, strict=True):
        mean = [uniform_filter(v, size=7) for v in (x, y, x * x, y * y, x * y)]
        vx, vy, vxy = (
            49 / 48 * v for v in (mean[2] - mean[0] ** 2, mean[3] - mean[1] ** 2, mean[4] - mean[0] * mean[1])
        )
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        s = (2 * mean[0] * mean[1] + c1) * (2 * vxy + c2) / ((mean[0] ** 2 + mean[1] ** 2 + c1) * (vx + vy + c2))
        values.append(s[3:-3, 3:-3].mean())
    return float(np.mean(values))


def gaussian(image: np.ndarray) -> np.ndarray:
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    line /= line.sum()
    return correlate1d(correlate1d(image, line, axis=0), line, axis=1)[5:-5, 5:-5]


def ms_ssim_reference(a: np.ndarray, b: np.ndarray) -> float:
    values = []
    for x, y in zip(a, b, strict=True):
        product = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            if scale:
                x, y = halved(x), halved(y)
            mx, my = gaussian(x), gaussian(y)
            vx, vy, vxy = gaussian(x * x) - mx**2, gaussian(y * y) - my**2, gaussian(x * y) - mx * my
            structure = (2 * vxy + 0.03**2) / (vx + vy + 0.03**2)
            luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            product *= max(0.0, (structure * luminance if scale == 4 else structure).mean()) ** weight
        values.append(product)
    return float(np.mean(values))


def halved(image: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels; an odd side gets a zero row or column at both ends, and the last single one is left out."""
    height, width = image.shape
    image = np.pad(image, ((height % 2,) * 2, (width % 2,) * 2))
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    return image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))


@pytest.mark.parametrize("data_range", [1, 2])
@pytest.mark.parametrize("size", [(7, 7), (31, 44)])
def test_scikits_ssim(size, data_range):
    a, b = pair(*size)
    ours = float(scikit_ssim(compared(a, b), data_range))
    expected = scikit_reference(a, b, data_range)
    assert ours == pytest.approx(expected, abs=1e-9)
    assert float(scikit_dssim(compared(a, b), data_range)) == pytest.approx((1 - expected) / 2)
    assert float(scikit_ssim(compared(a, a), data_range)) == pytest.approx(1)


def test_a_larger_data_range_forgives_more():
    images = compared(*pair(40, 40))
    assert scikit_ssim(images, 2) > scikit_ssim(images, 1) + 0.01


@pytest.mark.parametrize("size", [(161, 161), (180, 203)])
def test_ms_ssim(size):
    a, b = pair(*size)
    ours = float(ms_ssim(compared(a, b)))
    assert 0.3 < ours < 0.999
    assert ours == pytest.approx(ms_ssim_reference(a, b), abs=1e-9)
    assert float(ms_ssim(compared(a, a))) == pytest.approx(1)
    assert sum(MS_SSIM_WEIGHTS) == pytest.approx(1, abs=2e-4)


def test_opposite_images_have_the_ms_ssim_0():
    a = np.random.default_rng(0).random((3, 161, 161))
    assert ms_ssim(compared(a, 1 - a)) == 0


@pytest.mark.parametrize(("width", "measured"), [(MS_SSIM_SMALLEST - 1, False), (MS_SSIM_SMALLEST, True)])
def test_ms_ssim_needs_161_pixels(width, measured):
    assert MS_SSIM_SMALLEST == 161
    cameras = [camera(0, width=200, height=200), camera(1, width=width, height=200)]
    request = MetricRequest(protocol=PROTOCOLS["8bit"], cameras=cameras, device=CPU)
    opened = METRICS["ms_ssim"].open(request)
    assert (opened.measure is not None) is measured
    assert measured or opened.source.endswith("161 pixels a side; the smallest side is 160")


def test_the_protocol_of_stg_reports_its_two_dssims_and_that_of_ex4dgs_its_two_ssims():
    a, b = (torch.from_numpy(image).float() for image in pair(40, 41))
    scores = {}
    for name in ("stg", "ex4dgs", "8bit"):
        request = MetricRequest(protocol=PROTOCOLS[name], cameras=[camera(0, width=41, height=40)], device=CPU)
        suite = open_suite(request, networks=True)
        scores[name] = score(suite, a, prepare_reference(suite, b))
    for number in (1, 2):
        ssim = scikit_reference(a.double().numpy(), b.double().numpy(), number)
        assert scores["ex4dgs"][f"ssim{number}"] == pytest.approx(ssim, abs=1e-6)
        assert scores["stg"][f"dssim{number}"] == pytest.approx((1 - ssim) / 2, abs=1e-6)
        assert scores["stg"][f"ssim{number}"] is scores["ex4dgs"][f"dssim{number}"] is scores["8bit"]["ssim1"] is None
