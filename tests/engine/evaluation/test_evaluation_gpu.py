"""Evaluation on a GPU: the CPU's metrics, and none of a faulty expert."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError, cuda

from engine.evaluation.measures.lpips_network import Lpips
from engine.evaluation.measures.metric_types import MetricRequest, OpenedMetric
from engine.evaluation.measures.metrics import METRICS
from engine.evaluation.measures.moving import moving_mask
from engine.evaluation.measures.perceptual import lpips_measure
from engine.evaluation.measures.suite import MetricSuite, open_suite
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.rivals.oracles import oracle_images
from engine.evaluation.scoring import prepare_reference, score, score_all
from engine.runs.device import CPU, CUDA, ComputeDevice
from engine.runs.run import Run
from engine.settings.rendering.metric_protocols import PROTOCOLS
from tests.engine.evaluation.test_lpips import random_weights
from tests.small_world import FaultyExpert, small_run

pytestmark = pytest.mark.cuda

OTHERS = ("lpips", "lpips_alex", "lpips_vgg", "lpips_moving", "flip", "cvvdp")  # need weights or packages
GPU = ComputeDevice(device=CUDA, backend="cuda")


@pytest.mark.parametrize("protocol", ["8bit", "8bit_vgg"])
def test_metrics_are_those_of_the_cpu(protocol):
    net = PROTOCOLS[protocol].lpips_net
    image, truth = torch.rand(2, 3, 300, 70, generator=torch.Generator().manual_seed(0))
    scores = []
    for device in (CPU, CUDA):
        request = MetricRequest(protocol=PROTOCOLS[protocol], cameras=(), device=device)
        network = Lpips(net, random_weights(net)).to(device)
        lpips = OpenedMetric(measure=lpips_measure(network, rescaled=True))
        opened = open_suite(request, networks=False).metrics
        suite = MetricSuite(protocol=request.protocol, metrics={**opened, "lpips": lpips})
        scores.append(score(suite, image.to(device), prepare_reference(suite, truth.to(device))))
    here, there = scores
    assert there["psnr"] == pytest.approx(here["psnr"], abs=1e-5)
    assert there["ssim"] == pytest.approx(here["ssim"], abs=1e-6)
    assert there["lpips"] == pytest.approx(here["lpips"], rel=1e-3)


def test_metrics_without_a_network_are_those_of_the_cpu():
    image, truth, before, truth_before = torch.rand(4, 3, 190, 170, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(190, 170, dtype=torch.bool)
    mask[20:90, 40:140] = True
    scores = []
    for device in (CPU, CUDA):
        request = MetricRequest(protocol=PROTOCOLS["upstream"], cameras=(), device=device)
        opened = {name: row.open(request) for name, row in METRICS.items() if name not in OTHERS}
        suite = MetricSuite(protocol=request.protocol, metrics=opened)
        reference = prepare_reference(suite, truth.to(device), mask=mask.to(device), before=truth_before.to(device))
        images = {"one": image.to(device), "other": 1 - image.to(device)}  # which a GPU compares at once
        before = before.to(device)
        scores.append(score_all(suite, images, reference, before={"one": before, "other": before}.get))
    here, there = scores
    for method, values in here.items():
        assert None not in values.values() and len(values) == len(METRICS) - len(OTHERS)
        assert there[method] == {name: pytest.approx(value, abs=1e-5) for name, value in values.items()}


def test_oracles_and_masks_are_those_of_the_cpu():
    images, truth = torch.rand(3, 3, 60, 70, generator=torch.Generator().manual_seed(0)), torch.rand(3, 60, 70)
    here = oracle_images(images, images, truth)
    there = oracle_images(images.to(CUDA), images.to(CUDA), truth.to(CUDA))
    assert all((here[name] - there[name].cpu()).ne(0).float().mean() < 0.001 for name in here)  # ties of rounding
    pixels = torch.randint(0, 256, (2, 40, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(moving_mask(*pixels), moving_mask(*pixels.to(CUDA)).cpu())


def with_fault(run: Run) -> Run:
    faulty = FaultyExpert(run.experts[0].name, 1).to(run.device).requires_grad_(False)
    return replace(run, experts=(faulty, *run.experts[1:]))


def test_a_faulty_expert_leaves_no_evaluation(tmp_path):
    run = with_fault(small_run(tmp_path, GPU))
    options = EvaluationOptions(networks=False, constant_frames=0, progress=False)
    with pytest.raises(RasterizerError, match="opacities has NaN"):
        evaluate_mixture(run, views=[0], folder=tmp_path / "out", options=options)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    cuda.check()  # what was said once is not said again
