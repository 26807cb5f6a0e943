"""Training the router on a GPU: the CPU's numbers, the same bits every time, and nobody waits at every step."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import torch

import engine.runs.experts.loading
from engine.commands import train
from engine.evaluation.measures.psnr import psnr
from engine.runs.device import CUDA, ComputeDevice
from engine.runs.run import mix_view
from engine.runs.saved.checkpoint import STATE, TENSORS, saved_iterations
from engine.runs.saved.loading import load_run
from engine.settings.training.run import TrainingConfig
from engine.training.router.task import READ_EVERY
from tests.engine.training.test_router_resume import interrupt_at
from tests.engine.training.test_router_training import train_alone
from tests.small_world import FRAMES, FaultyExpert, open_expert, small_run, use_small_world

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


def test_a_faulty_expert_ends_training_without_a_save(tmp_path, arguments, monkeypatch, capsys):
    def load(name, folder, options, **_):
        expert = open_expert(name, folder)
        if name == "Ex4DGS":
            faulty = FaultyExpert(name, 1)
            faulty.provenance = expert.provenance
            return faulty.requires_grad_(False)
        return expert

    monkeypatch.setattr(engine.runs.experts.loading, "load_expert", load)
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'out'}", "--device", "cuda"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: layer 0: opacities has NaN") and error.count("\n") == 1
    for iteration in saved_iterations(tmp_path / "out"):  # what was reached before the fault may be kept
        run = load_run(tmp_path / "out", iteration=iteration, overrides={"device": "cpu"})
        assert all(parameter.isfinite().all() for parameter in run.router.parameters())
