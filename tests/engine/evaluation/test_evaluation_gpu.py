"""Evaluation on a GPU: the CPU's metrics, and none of a faulty expert."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError, cuda

from engine.evaluation.lpips_network import Lpips
from engine.evaluation.metric_types import MetricRequest, OpenedMetric
from engine.evaluation.metrics import lpips_measure
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.scoring import MetricSuite, open_suite, prepare_reference, score
from engine.runs.device import CPU, CUDA, ComputeDevice
from engine.runs.run import Run
from engine.settings.metric_protocols import PROTOCOLS
from tests.engine.evaluation.test_lpips import random_weights
from tests.small_world import FaultyExpert, small_run

pytestmark = pytest.mark.cuda

GPU = ComputeDevice(device=CUDA, backend="cuda")


@pytest.mark.parametrize("protocol", ["8bit", "8bit_vgg"])
def test_metrics_are_those_of_the_cpu(protocol):
    net = PROTOCOLS[protocol].lpips_net
    image, truth = torch.rand(2, 3, 300, 70, generator=torch.Generator().manual_seed(0))
    scores = []
    for device in (CPU, CUDA):
        request = MetricRequest(protocol=PROTOCOLS[protocol], cameras=(), device=device)
        network = Lpips(net, random_weights(net)).to(device)
        lpips = OpenedMetric(measure=lpips_measure(network, request.protocol))
        opened = open_suite(request, networks=False).metrics
        suite = MetricSuite(protocol=request.protocol, metrics={**opened, "lpips": lpips})
        scores.append(score(suite, image.to(device), prepare_reference(suite, truth.to(device))))
    here, there = scores
    assert there["psnr"] == pytest.approx(here["psnr"], abs=1e-5)
    assert there["ssim"] == pytest.approx(here["ssim"], abs=1e-6)
    assert there["lpips"] == pytest.approx(here["lpips"], rel=1e-3)


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
