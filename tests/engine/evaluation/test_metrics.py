from __future__ import annotations

import math

import av
import numpy as np
import pytest
import torch

import engine.evaluation.scoring
from engine.evaluation.measures.metric_types import MetricRequest, Pair, TrueImage
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.measures.structure import STRIP, ssim
from engine.evaluation.measures.suite import MetricSuite, Scores, open_suite
from engine.evaluation.scoring import mean_scores, prepare_reference, score, score_all
from engine.runs.device import CPU
from engine.settings.rendering.metric_protocols import PROTOCOLS
from losses import ssim as ssim_of_the_loss

C1, C2 = 0.01**2, 0.03**2


def suite(name: str = "8bit") -> MetricSuite:
    return open_suite(MetricRequest(protocol=PROTOCOLS[name], cameras=(), device=CPU), networks=False)


def measured_ssim(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(ssim(Pair(image=a, truth=TrueImage(image=b))))


def direct_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM by the formula, one window at a time, on zero-padded single-channel images."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    a, b = np.pad(a, 5), np.pad(b, 5)
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
            cov = (window * p * q).sum() - mp * mq
            values.append((2 * mp * mq + C1) * (2 * cov + C2) / ((mp**2 + mq**2 + C1) * (vp + vq + C2)))
    return float(np.mean(values))


def test_psnr_is_minus_ten_log10_of_the_mean_squared_error():
    a = torch.full((3, 4, 5), 0.5)
    assert psnr(a, a + 0.1) == pytest.approx(20.0, abs=1e-5)
    assert psnr(a, a) == math.inf
    one_channel_off = a.clone()
    one_channel_off[0] += 0.1  # a mean over channels of PSNRs would be infinite
    assert psnr(a, one_channel_off) == pytest.approx(20 + 10 * math.log10(3), abs=1e-5)


def test_ssim_follows_the_formula():
    rng = np.random.default_rng(0)
    a = rng.random((14, 17))
    b = np.clip(a + rng.normal(0, 0.2, a.shape), 0, 1)
    ours = measured_ssim(torch.from_numpy(a)[None], torch.from_numpy(b)[None])
    assert ours == pytest.approx(direct_ssim(a, b), abs=1e-9)
    assert measured_ssim(torch.from_numpy(a)[None], torch.from_numpy(a)[None]) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("height", [1, 11, STRIP - 1, STRIP, STRIP + 1, STRIP + 5, STRIP + 6, 2 * STRIP, 300])
def test_ssim_by_strips_is_the_ssim_of_the_loss(height):
    generator = torch.Generator().manual_seed(height)
    a, b = torch.rand(2, 3, height, 23, generator=generator, dtype=torch.float64)
    assert measured_ssim(a, b) == pytest.approx(float(ssim_of_the_loss(a, b)), abs=1e-12)


def test_8bit_protocol_clamps_and_rounds_and_upstream_does_not():
    truth = torch.full((3, 16, 16), 100 / 255)
    slightly_off = truth + 0.4 / 255  # rounds back to 100
    assert score(suite(), slightly_off, prepare_reference(suite(), truth))["psnr"] == math.inf
    upstream = score(suite("upstream"), slightly_off, prepare_reference(suite("upstream"), truth))
    assert upstream["psnr"] == pytest.approx(-20 * math.log10(0.4 / 255), abs=1e-3)

    white = torch.ones(3, 16, 16)
    assert score(suite(), white + 0.5, prepare_reference(suite(), white))["psnr"] == math.inf
    assert score(suite("upstream"), white + 0.5, prepare_reference(suite("upstream"), white))["psnr"] == pytest.approx(
        -20 * math.log10(0.5), abs=1e-5
    )


def test_means_are_of_each_metric_alone():
    scores = [{"psnr": 20, "ssim": 0.5, "lpips": 0.1}, {"psnr": 30, "ssim": 0.7, "lpips": 0.3}]
    assert mean_scores(scores) == {"psnr": 25, "ssim": pytest.approx(0.6), "lpips": pytest.approx(0.2)}
    assert mean_scores([*scores, {"psnr": 1, "ssim": 1, "lpips": None}])["lpips"] is None


def frames(path, numbers):
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in numbers:
                yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).float() / 255
            if number >= max(numbers):
                return


@pytest.mark.parametrize(("name", "lowest", "highest"), [("reference_4dgs", 24.4, 25.7), ("aggressive", 21.4, 22.1)])
def test_published_renders_of_a_real_scene_score_as_known(shared, name, lowest, highest):
    folder = shared("data/coffee_martini_cam00")
    numbers = (0, 5, 10)
    renders, truths = (list(frames(folder / file, numbers)) for file in (f"{name}.mp4", "gt_reference.mp4"))
    assert len(renders) == len(numbers)
    pairs = zip(renders, truths, strict=True)
    for render, truth in pairs:
        result = score(suite(), render, prepare_reference(suite(), truth))
        assert lowest <= result["psnr"] <= highest
        assert 0.6 < result["ssim"] < 0.95


def test_images_that_are_compared_at_once_have_the_scores_of_each_alone(monkeypatch):
    images = torch.rand(4, 3, 190, 170, generator=torch.Generator().manual_seed(0))
    truth, before = torch.rand(2, 3, 190, 170, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(190, 170, dtype=torch.bool)
    mask[20:90, 40:140] = True
    suite = open_suite(MetricRequest(protocol=PROTOCOLS["8bit"], cameras=(), device=CPU), networks=True)
    batched = {name for name, opened in suite.metrics.items() if opened.measure is not None and opened.measure.batched}
    assert batched == {"psnr", "ssim", "ms_ssim", "psnr_moving", "ssim_moving", "tpsnr"}
    reference = prepare_reference(suite, truth, mask=mask, before=before)
    given = {"a": images[0], "b": images[1], "c": images[2]}

    def scores() -> dict[str, Scores]:
        return score_all(suite, given, reference, before=lambda name: images[3])

    alone = scores()
    monkeypatch.setattr(engine.evaluation.scoring, "_batches", lambda images: [["a", "b"], ["c"]])
    together = scores()
    assert list(together) == list(alone)
    for name, values in alone.items():
        measured = {metric: values[metric] for metric in batched}
        assert {metric: together[name][metric] for metric in measured} == pytest.approx(measured, rel=1e-6)
