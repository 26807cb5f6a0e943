"""FLIP by its package, ColorVideoVDP by one that checks how it is called, and LPIPS of moving pixels."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from fractions import Fraction
from types import ModuleType

import flip_evaluator
import numpy as np
import pytest
import torch

import engine.settings.rendering.metric_protocols as protocols
from engine.commands.render import main
from engine.errors import ConfigError
from engine.evaluation.measures.lpips_network import Lpips
from engine.evaluation.measures.metric_types import MetricRequest, Pair, TrueImage
from engine.evaluation.measures.perceptual import lpips_measure, moving_lpips, open_flip
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.runs.device import CPU
from engine.settings.rendering.metric_protocols import PROTOCOLS
from tests.engine.evaluation.test_lpips import random_weights
from tests.small_world import camera

OPTIONS = EvaluationOptions(progress=False, videos=False, oracles=False, constant_frames=0, networks=True)


def test_flip_is_that_of_its_package():
    image, truth = torch.rand(2, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    request = MetricRequest(protocol=PROTOCOLS["8bit"], cameras=[camera(0)], device=CPU)
    measured = open_flip(request).measure.compare(Pair(image=image, truth=TrueImage(image=truth)))
    pixels = [np.ascontiguousarray(each.permute(1, 2, 0).numpy()) for each in (truth, image)]
    error_map, mean, _ = flip_evaluator.evaluate(*pixels, "LDR", applyMagma=False)
    assert measured == pytest.approx(mean) == pytest.approx(np.mean(error_map), abs=1e-4)
    assert open_flip(request).measure.compare(Pair(image=truth, truth=TrueImage(image=truth))) == 0


class CheckedMetric:
    """Stands for pycvvdp.cvvdp: the JOD is 10 less the mean error in levels, and 0 at other frames per second."""

    def __init__(self, *, display_name, heatmap, quiet, device):
        assert (display_name, heatmap, quiet, device) == ("standard_4k", None, True, CPU)

    def predict(self, test, reference, dim_order="BCFHW", frames_per_second=0):
        assert dim_order == "FHWC"
        assert test.dtype == reference.dtype == np.uint8
        assert test.shape == reference.shape == (3, 34, 36, 3)
        assert set(reference.ravel()) == {100}  # the recorded frames come second
        jod = 10 - np.abs(test.astype(float) - reference).mean()
        return torch.tensor(jod * (frames_per_second == 25)), {}


@pytest.fixture
def pycvvdp(monkeypatch):
    package = ModuleType("pycvvdp")
    package.cvvdp = CheckedMetric
    monkeypatch.setitem(sys.modules, "pycvvdp", package)
    monkeypatch.setattr(protocols.importlib.util, "find_spec", lambda name: object())


def test_colorvideovdp_is_of_each_cameras_clip(pycvvdp, flat_run, tmp_path):
    run = replace(flat_run, scene=replace(flat_run.scene, frame_rate=Fraction(25)))
    result = evaluate_mixture(run, views=[0, 1], folder=tmp_path / "out", options=replace(OPTIONS, metrics=("cvvdp",)))
    assert result.means["low"]["cvvdp"] == pytest.approx(10 - 19)  # levels 80, 81 and 82 on 100
    assert result.means["high"]["cvvdp"] == pytest.approx(10 - 11)
    frames = json.loads((tmp_path / "out" / "metrics.json").read_text())["per_frame"]
    assert [frame["scores"]["high"]["cvvdp"] for frame in frames] == [pytest.approx(-1)] * 6
    assert not list((tmp_path / "out").glob(".clips*"))  # the waiting images are gone


def test_colorvideovdp_needs_consecutive_frames(pycvvdp, flat_run, tmp_path):
    options = replace(OPTIONS, metrics=("cvvdp",), frames=[0, 2])
    result = evaluate_mixture(flat_run, views=[0], folder=tmp_path / "out", options=options)
    assert result.means["low"]["cvvdp"] is None
    assert result.unavailable["cvvdp"] == "it needs consecutive frames of a camera, two or more"


def test_a_package_that_is_not_there_fails_only_where_it_was_asked_for(flat_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(protocols.importlib.util, "find_spec", lambda name: None)
    options = replace(OPTIONS, metrics=("flip",))
    with pytest.raises(ConfigError, match=r"--metrics flip: .*flip_evaluator is not installed: pip install flip-eval"):
        evaluate_mixture(flat_run, views=[0], folder=tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()
    result = evaluate_mixture(flat_run, views=[0], folder=tmp_path / "out", options=OPTIONS)
    assert result.means["low"]["flip"] is None and "flip" not in result.unavailable
    (tmp_path / "save").mkdir()
    assert main("E3", ["--save_path", str(tmp_path / "save"), "--metrics", "cvvdp"]) == 2  # nothing was opened
    assert "--metrics cvvdp: the package pycvvdp is not installed: pip install cvvdp" in capsys.readouterr().err


def test_lpips_of_moving_pixels_is_the_mean_of_its_map_there():
    network = Lpips("alex", random_weights("alex"))
    image, truth = torch.rand(2, 3, 70, 90, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(70, 90, dtype=torch.bool)
    mask[10:30, 50:80] = torch.rand(20, 30, generator=torch.Generator().manual_seed(3)) > 0.5
    expected = 0.0
    for level, (a, b) in enumerate(zip(*(network.features(each * 2 - 1) for each in (image, truth)), strict=True)):
        distances = ((a - b) ** 2 * getattr(network, f"lin{level}")).sum(dim=1, keepdim=True)
        enlarged = torch.nn.Upsample(size=(70, 90), mode="bilinear", align_corners=False)(distances)
        expected += float(enlarged[0, 0][mask].mean())
    pair = Pair(image=image, truth=TrueImage(image=truth, mask=mask))
    assert float(moving_lpips(pair, network=network, rescaled=True)) == pytest.approx(expected, rel=1e-5)
    whole = float(lpips_measure(network, rescaled=True).compare(pair))
    assert whole == pytest.approx(float(network(image * 2 - 1, truth * 2 - 1)), rel=1e-6)
    assert whole != pytest.approx(expected, rel=1e-3)
    same = Pair(image=truth, truth=TrueImage(image=truth, mask=mask))
    assert float(moving_lpips(same, network=network, rescaled=True)) == 0
