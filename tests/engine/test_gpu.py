"""Training and rendering on a GPU: the CPU's numbers, the same bits every time, and nobody waits at every step."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import RasterizerError, cuda

import engine.runs.opening
import engine.training.router.task
from engine.commands import train
from engine.evaluation.lpips_network import Lpips
from engine.evaluation.metrics import MetricRequest, OpenedMetric, lpips_measure, psnr
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.scoring import MetricSuite, open_suite, prepare_reference, score
from engine.runs.checkpoint import STATE, TENSORS, saved_iterations
from engine.runs.checks import check_rasterizer
from engine.runs.device import CPU, CUDA, ComputeDevice, open_compute_device
from engine.runs.run import Run, mix_view
from engine.runs.saved import load_run
from engine.settings.metric_protocols import PROTOCOLS
from engine.settings.run import TrainingConfig
from engine.training.router.task import READ_EVERY
from scenes import Prefetcher
from tests.engine.evaluation.test_lpips import random_weights
from tests.engine.training.test_router_resume import interrupt_at
from tests.engine.training.test_router_training import train_alone
from tests.small_world import FRAMES, CloudExpert, open_expert, random_scene, small_run, use_small_world

pytestmark = pytest.mark.cuda

# For PyTorch's check of determinism, which reads it at the first matrix product and never again. cuBLAS itself needs it
# with several streams only.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

GPU = ComputeDevice(device=CUDA, backend="cuda")
STEPS = ["--iterations", "30", "--save_iterations", "15", "--test_iterations", "30", "--featuret_lr", "0.5"]


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    return [*use_small_world(monkeypatch, tmp_path), *STEPS]


def trained(folder: Path, arguments: list[str], device: str) -> Path:
    assert train.main("E3", [*arguments, f"--save_path={folder}", "--device", device]) == 0
    return folder


def saved(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "router" / "iteration_30" / name).read_bytes() for name in (TENSORS, STATE)}


def header(content: bytes) -> bytes:
    """Names, types, shapes and places of a safetensors file's tensors."""
    return content[8 : 8 + struct.unpack("<Q", content[:8])[0]]


def test_training_reaches_the_metrics_of_the_cpu(tmp_path, arguments):
    reports = {}
    for device in ("cpu", "cuda"):
        folder = trained(tmp_path / device, arguments, device)
        reports[device] = json.loads((folder / "test" / "itrs_30" / "metrics.json").read_text())
    methods = reports["cpu"]["means"]
    for method, scores in methods.items():
        # Experts are frozen: only pixels that fall on the other side of an 8-bit step differ. The router's weights
        # follow normalised gradients, which lets rounding grow over 30 steps.
        tolerance = 0.05 if method == "MoE" else 0.01
        assert reports["cuda"]["means"][method]["psnr"] == pytest.approx(scores["psnr"], abs=tolerance), method
        assert reports["cuda"]["means"][method]["ssim"] == pytest.approx(scores["ssim"], abs=tolerance / 10), method
    assert reports["cuda"]["device"] == torch.cuda.get_device_name()
    assert reports["cuda"]["versions"]["cuda"] == torch.version.cuda
    assert reports["cuda"]["versions"]["cuda_driver"].split(".")[0].isdecimal()
    assert reports["cuda"]["peak_gpu_memory_mib"] > 0
    assert {name: header(file) for name, file in saved(tmp_path / "cuda").items()} == {
        name: header(file) for name, file in saved(tmp_path / "cpu").items()
    }


def test_a_stopped_run_continues_to_the_same_bits(tmp_path, arguments, monkeypatch):
    trained(tmp_path / "whole", arguments, "cuda")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 17)
        assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'halves'}", "--device", "cuda"]) == 130
    assert saved_iterations(tmp_path / "halves") == (15, 17)
    assert train.main("E3", [f"--save_path={tmp_path / 'halves'}", "--resume", "--quiet"]) == 0
    assert saved(tmp_path / "halves") == saved(tmp_path / "whole")


def test_what_is_trained_on_one_device_renders_alike_on_the_other(tmp_path, arguments):
    for device in ("cpu", "cuda"):
        folder = trained(tmp_path / device, arguments, device)
        here, there = (load_run(folder, overrides={"device": name}) for name in ("cpu", "cuda"))
        assert (here.device.type, there.device.type) == ("cpu", "cuda")
        for view in range(3):
            for frame in range(FRAMES):
                expected, found = mix_view(here, view, frame), mix_view(there, view, frame)
                assert psnr(found.image.cpu(), expected.image) > 60
                assert psnr(found.gates.cpu(), expected.gates) > 50


def test_a_training_step_does_not_wait_for_the_gpu(tmp_path):
    run, training = small_run(tmp_path, GPU), TrainingConfig(iterations=2 * READ_EVERY)
    modes = {1: "error", READ_EVERY - 1: "default", READ_EVERY + 1: "error", 2 * READ_EVERY - 1: "default"}

    def watch(iteration: int) -> None:  # what is made once is made in the first iteration
        if iteration in modes:
            torch.cuda.set_sync_debug_mode(modes[iteration])

    try:
        readings = train_alone(run, training, each=watch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [reading.iteration for reading in readings] == list(range(1, 2 * READ_EVERY + 1))


def test_training_uses_deterministic_operations_alone(tmp_path):
    run, training = small_run(tmp_path, GPU), TrainingConfig(iterations=3)
    torch.use_deterministic_algorithms(True)
    try:
        assert len(train_alone(run, training)) == 3
    finally:
        torch.use_deterministic_algorithms(False)


def test_full_float32_and_no_choice_by_stopwatch():
    assert open_compute_device("auto", "auto") == GPU
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    check_rasterizer(GPU)


def test_frames_read_ahead_are_those_of_the_cpu(tmp_path):
    scene = random_scene(tmp_path)
    order = [(view, frame) for frame in range(FRAMES) for view in range(3)] * 3
    with Prefetcher(scene, order) as here, Prefetcher(scene, order, device=CUDA) as there:
        for expected, found in zip(here, there, strict=True):
            assert found[:2] == expected[:2]
            assert found[2].is_cuda and found[2].is_contiguous()
            assert (found[2].cpu() - expected[2]).abs().max() <= 6e-8  # a GPU multiplies by 1 / 255: the last bit


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


class FaultyExpert(CloudExpert):
    """One Gaussian of its last frame has no opacity."""

    def at(self, frame: float, *, camera: int | None = None):
        gaussians = super().at(frame, camera=camera)
        if frame == FRAMES - 1:
            gaussians.opacities[3] = float("nan")
        return gaussians


def with_fault(run: Run) -> Run:
    faulty = FaultyExpert(run.experts[0].name, 1).to(run.device).requires_grad_(False)
    return replace(run, experts=(faulty, *run.experts[1:]))


def test_a_faulty_expert_ends_training_without_a_save(tmp_path, arguments, monkeypatch, capsys):
    def load(name, folder, options, **_):
        expert = open_expert(name, folder)
        if name == "Ex4DGS":
            faulty = FaultyExpert(name, 1)
            faulty.provenance = expert.provenance
            return faulty.requires_grad_(False)
        return expert

    monkeypatch.setattr(engine.runs.opening, "load_expert", load)
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'out'}", "--device", "cuda"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: layer 0: opacities has NaN") and error.count("\n") == 1
    for iteration in saved_iterations(tmp_path / "out"):  # what was reached before the fault may be kept
        run = load_run(tmp_path / "out", iteration=iteration, overrides={"device": "cpu"})
        assert all(parameter.isfinite().all() for parameter in run.router.parameters())


def test_a_faulty_expert_leaves_no_evaluation(tmp_path):
    run = with_fault(small_run(tmp_path, GPU))
    options = EvaluationOptions(networks=False, constant_frames=0, progress=False)
    with pytest.raises(RasterizerError, match="opacities has NaN"):
        evaluate_mixture(run, views=[0], folder=tmp_path / "out", options=options)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    cuda.check()  # what was said once is not said again
