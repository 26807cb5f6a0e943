"""Metrics of moving pixels and of change: which pixels and frames they measure, and their values."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.evaluation.measures.metric_types import Pair, TrueImage
from engine.evaluation.measures.metrics import METRICS
from engine.evaluation.measures.moving import MovingMasks, background, moving_mask, moving_psnr, moving_ssim
from engine.evaluation.measures.preparation import PreviousImages
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.scoring import mean_scores
from engine.runs.device import CPU
from losses.structural_similarity import plain_ssim_map

HEIGHT, WIDTH, FRAMES = 34, 36, 12


class BoxFrames:
    """A box of 6x6 pixels and level 200 that moves 2 px a frame over level 100; reads are counted."""

    def __init__(self, still: range = range(0)) -> None:
        self.reads: list[tuple[int, int]] = []
        self.still = still

    def read(self, view: int, frame: int) -> np.ndarray:
        self.reads.append((view, frame))
        image = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
        if frame not in self.still:
            image[10:16, 2 * frame : 2 * frame + 6] = 200
        return image


def with_frames(run, frames):
    return replace(run, scene=replace(run.scene, frames=frames, num_frames=FRAMES, footage_frames=FRAMES))


def options(**changes) -> EvaluationOptions:
    return EvaluationOptions(progress=False, videos=False, oracles=False, constant_frames=0, **changes)


def test_the_background_is_the_median_and_the_mask_is_the_box(flat_run):
    frames = BoxFrames()
    scene = with_frames(flat_run, frames).scene
    assert set(background(scene, 0).ravel()) == {100}
    assert [frame for _, frame in frames.reads] == [0, 1, 2, 4, 5, 6, 8, 9, 10]  # nine of twelve
    masks = MovingMasks(scene, CPU)
    mask = masks.mask(0, torch.from_numpy(frames.read(0, 5)))
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    expected[10:16, 10:16] = True
    corners = [(10, 10), (10, 15), (15, 10), (15, 15)]
    for corner in corners:
        expected[corner] = False  # 4 of 9 pixels
    assert torch.equal(mask, expected)
    before = len(frames.reads)
    masks.mask(0, torch.full((HEIGHT, WIDTH, 3), 100, dtype=torch.uint8))
    assert len(frames.reads) == before  # the background of a view is read once
    masks.mask(1, torch.full((HEIGHT, WIDTH, 3), 100, dtype=torch.uint8))
    assert len(frames.reads) == before + 9


def test_the_threshold_is_of_any_channel_and_single_pixels_are_filtered():
    still = torch.full((20, 20, 3), 100, dtype=torch.uint8)
    truth = still.clone()
    truth[:, :10, 1] = 110  # not more than the threshold
    truth[:, 10:, 2] = 89  # 11 below
    truth[5, 15] = 100  # a hole, which is closed
    truth[5, 3] = 200  # a single pixel, which is not kept
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[:, 10:] = True
    expected[0, [10, -1]] = expected[-1, [10, -1]] = False  # outside the image nothing moves
    assert torch.equal(moving_mask(truth, still), expected)


def test_too_few_moving_pixels_are_no_mask(flat_run):
    scene = with_frames(flat_run, BoxFrames(still=range(FRAMES))).scene
    masks = MovingMasks(scene, CPU)
    truth = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
    assert masks.mask(0, torch.from_numpy(truth)) is None
    truth[4:6, 4:6] = 200  # four pixels, none of them with five of nine
    assert masks.mask(0, torch.from_numpy(truth)) is None
    truth[4:7, 4:7] = 200  # five pixels of 1224 are 0.4 %
    assert int(masks.mask(0, torch.from_numpy(truth)).sum()) == 5


def random_pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 3, 40, 52, generator=generator)
    mask = torch.zeros(40, 52, dtype=torch.bool)
    mask[17:25, 30:44] = torch.rand(8, 14, generator=generator) > 0.5
    return a, b, mask


def test_the_values_are_those_of_the_masked_pixels():
    a, b, mask = random_pair()
    images = Pair(image=a, truth=TrueImage(image=b, mask=mask))
    error = ((a - b).double() ** 2)[:, mask].mean()
    assert float(moving_psnr(images)) == pytest.approx(-10 * math.log10(error), abs=1e-6)
    assert float(moving_ssim(images)) == pytest.approx(float(plain_ssim_map(a, b)[:, mask].mean()), abs=1e-5)
    everywhere = Pair(image=a, truth=TrueImage(image=b, mask=torch.ones_like(mask)))
    assert float(moving_ssim(everywhere)) == pytest.approx(float(plain_ssim_map(a, b).mean()), abs=1e-5)


def test_a_mixtures_moving_pixels_are_scored_and_frames_without_any_are_left_out(flat_run, tmp_path):
    run = with_frames(flat_run, BoxFrames(still=range(3)))
    result = evaluate_mixture(run, views=[0], folder=tmp_path / "out", options=options())
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    values = [frame["scores"]["low"]["psnr_moving"] for frame in report["per_frame"]]
    # "low" is 80 + frame, the box 200; the whole mask lies in the box
    expected = [None] * 3 + [-20 * math.log10((120 - frame) / 255) for frame in range(3, FRAMES)]
    assert values[:3] == expected[:3]
    assert values[3:] == pytest.approx(expected[3:], abs=1e-4)
    assert result.means["low"]["psnr_moving"] == pytest.approx(np.mean(expected[3:]), abs=1e-4)
    assert result.means["low"]["ssim_moving"] < result.means["low"]["ssim"]
    assert "psnr_moving" not in result.unavailable
    assert "10/255" in report["protocol"]["psnr_moving"]


def test_tpsnr_is_the_psnr_of_the_changes(flat_run, tmp_path):
    """Experts brighten by one level a frame, the recorded frames by none: an error of one level, wherever they are."""
    result = evaluate_mixture(flat_run, views=[0, 1], folder=tmp_path / "out", options=options())
    values = [frame.scores["high"]["tpsnr"] for frame in result.frames]
    one_level = -20 * math.log10(1 / 255)
    assert values == [None, *[pytest.approx(one_level, abs=1e-3)] * 2] * 2  # a camera's first frame has none before it
    assert result.means["low"]["tpsnr"] == pytest.approx(one_level, abs=1e-3)


def test_tpsnr_needs_frames_that_follow_one_another(flat_run, tmp_path):
    result = evaluate_mixture(flat_run, views=[0], folder=tmp_path / "out", options=options(frames=[0, 2]))
    assert result.means["low"]["tpsnr"] is None
    assert result.unavailable["tpsnr"] == "it needs two consecutive frames of a camera"


def test_a_training_does_not_measure_them(flat_run, tmp_path):
    frames = BoxFrames()
    run = with_frames(flat_run, frames)
    result = evaluate_mixture(run, views=[0], folder=tmp_path / "out", options=options(networks=False))
    assert [name for name, value in result.means["low"].items() if value is not None] == ["psnr", "ssim"]
    assert len(frames.reads) == FRAMES  # no background was read


def test_only_optional_metrics_may_lack_frames():
    scores = [dict.fromkeys(METRICS, 1.0), dict.fromkeys(METRICS)]
    means = mean_scores(scores)
    assert {name for name, value in means.items() if value is None} == {"psnr", "ssim", "lpips"}
    assert mean_scores([dict.fromkeys(METRICS)])["tpsnr"] is None


def test_the_images_before_are_those_of_the_frame_before():
    image = torch.rand(3, 30, 31)
    previous = PreviousImages()
    assert previous.before((4, 1), "MoE") is None
    previous.keep((4, 1), {"MoE": image})
    assert previous.before((4, 2), "MoE") is image
    assert previous.before((4, 3), "MoE") is previous.before((5, 2), "MoE") is previous.before((4, 1), "MoE") is None
