"""The device and back-end of a run: the table of requests and machines."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import moegs_rasterizer
import pytest
import torch

import engine.runs.device
from common.text.units import MEBIBYTE
from engine.checks.rasterizer import check_rasterizer
from engine.commands import train
from engine.errors import ConfigError
from engine.runs.device import (
    CPU,
    CUDA,
    KEPT,
    ComputeDevice,
    backend_name,
    choose_compute_device,
    device_name,
    gpu_here,
    gpu_names,
    open_compute_device,
    processor_name,
    release_unused,
    wait,
)
from tests.small_world import use_small_world

BROKEN = "nvcc 11.2 found, 12.0 or newer needed; run python -m moegs_rasterizer.build"


@pytest.fixture
def machine(monkeypatch):
    """Lets this machine have a GPU, and a CUDA back-end with a reason against it, or not."""

    def has(*, gpu: bool, reason: str | None) -> None:
        monkeypatch.setattr(engine.runs.device, "gpu_here", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        back_end = SimpleNamespace(unavailable_reason=lambda: reason)
        monkeypatch.setattr(moegs_rasterizer, "cuda", back_end, raising=False)

    return has


LISTED = """GPU 0: NVIDIA H200 (UUID: GPU-8a6b-01)
  MIG 1g.18gb     Device  0: (UUID: MIG-77-1)
GPU 1: NVIDIA H200 (UUID: GPU-8a6b-02)
"""


def test_gpus_have_their_numbers_and_uuids_as_names(monkeypatch):
    monkeypatch.setattr(engine.runs.device.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=LISTED))
    assert gpu_names() == ("0", "1", "GPU-8a6b-01", "MIG-77-1", "GPU-8a6b-02")


def test_without_nvidia_smi_the_driver_counts_the_gpus(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(engine.runs.device.subprocess, "run", missing)
    monkeypatch.setattr(engine.runs.device, "_driver_count", lambda: 2)
    assert gpu_names() == ("0", "1")


WORKS = [
    # asked for, found, chosen
    (("auto", "auto"), (False, BROKEN), (CPU, "auto")),
    (("auto", "auto"), (True, None), (CUDA, "cuda")),
    (("auto", "auto"), (True, BROKEN), (CPU, "auto")),
    (("auto", "cuda"), (True, None), (CUDA, "cuda")),
    (("auto", "cpu"), (True, None), (CPU, "cpu")),
    (("auto", "torch"), (True, None), (CPU, "torch")),
    (("cpu", "auto"), (True, None), (CPU, "auto")),
    (("cpu", "torch"), (True, None), (CPU, "torch")),
    (("cuda", "auto"), (True, None), (CUDA, "cuda")),
    (("cuda", "torch"), (True, BROKEN), (CUDA, "torch")),
]


@pytest.mark.parametrize(("asked", "found", "chosen"), WORKS)
def test_the_gpu_is_used_where_it_can_be(machine, caplog, asked, found, chosen):
    machine(gpu=found[0], reason=found[1])
    device, backend = chosen
    assert choose_compute_device(*asked) == ComputeDevice(device=device, backend=backend)
    fell_back = asked == ("auto", "auto") and found == (True, BROKEN)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == (
        [f"cannot use the GPU, computing on the CPU: {BROKEN}"] if fell_back else []
    )


REFUSED = [
    (("cuda", "auto"), (True, BROKEN), f"--device cuda cannot be used: {BROKEN}; use --device cpu"),
    (("cuda", "cuda"), (False, BROKEN), f"--device cuda cannot be used: {BROKEN}; use --device cpu"),
    (("auto", "cuda"), (True, BROKEN), f"--backend cuda cannot be used: {BROKEN}; use --device cpu"),
    (("cuda", "torch"), (False, None), "--device cuda cannot be used: PyTorch finds no GPU"),
    (("cpu", "cuda"), (True, None), "--backend cuda does not run on --device cpu: leave out one of the two, or use"),
    (("cuda", "cpu"), (True, None), "--backend cpu does not run on --device cuda: leave out one of the two, or use"),
]


@pytest.mark.parametrize(("asked", "found", "message"), REFUSED)
def test_what_cannot_be_is_refused_with_its_reason(machine, asked, found, message):
    machine(gpu=found[0], reason=found[1])
    with pytest.raises(ConfigError) as error:
        choose_compute_device(*asked)
    assert str(error.value).startswith(message)


def test_a_refused_device_leaves_nothing_behind(machine, tmp_path, monkeypatch, capsys):
    machine(gpu=True, reason=BROKEN)
    arguments = use_small_world(monkeypatch, tmp_path)
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'out'}", "--device", "cuda"]) == 2
    assert capsys.readouterr().err == f"error: --device cuda cannot be used: {BROKEN}; use --device cpu\n"
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_cannot_be_used_is_a_warning_and_the_run_goes_on(machine, tmp_path, monkeypatch, capsys):
    machine(gpu=True, reason=BROKEN)
    arguments = use_small_world(monkeypatch, tmp_path)
    quick = [f"--save_path={tmp_path / 'out'}", "--iterations", "1", "--test_frames", "1"]
    assert train.main("E3", [*arguments, *quick]) == 0
    assert f"warning: cannot use the GPU, computing on the CPU: {BROKEN}\n" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "config.json").read_text())["device"] == "auto"
    report = json.loads((tmp_path / "out" / "test" / "itrs_1" / "metrics.json").read_text())
    assert report["device"] == device_name(CPU)


@pytest.mark.parametrize(("hidden", "found"), [(False, True), (True, False)])
def test_a_gpu_that_pytorch_cannot_see_is_there_unless_it_is_hidden(monkeypatch, hidden, found):
    def count(question, answer):
        answer._obj.value = 1
        return question == "nvmlDeviceGetCount_v2"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(engine.runs.device, "_ask_driver", count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_here() == found


def test_a_cpu_is_named_with_its_threads(machine, monkeypatch, caplog):
    machine(gpu=False, reason=BROKEN)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(engine.runs.device, "processor_name", lambda: "A Processor")
    for count, threads in ((1, "1 thread"), (4, "4 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        assert device_name(CPU) == f"A Processor, {threads}"
    open_compute_device("auto", "torch")
    assert caplog.messages == ["device: CPU (A Processor, 4 threads), rasterizer back-end: torch"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 106\nmodel name\t: AMD EPYC 7763\n\nmodel name\t: another\n", "AMD EPYC 7763"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", "riscv64"),
        (None, "riscv64"),
    ],
)
def test_a_processor_goes_by_its_model_where_the_system_tells_it(tmp_path, monkeypatch, content, name):
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    if content is not None:
        (tmp_path / "cpuinfo").write_text(content)
    assert processor_name(tmp_path / "cpuinfo") == name


@pytest.mark.parametrize(
    ("asked", "reason", "name"),
    [("auto", None, "cpu"), ("auto", "no compiler", "torch"), ("cuda", None, "cuda"), ("torch", None, "torch")],
)
def test_auto_is_told_by_the_back_end_that_it_stands_for(monkeypatch, asked, reason, name):
    monkeypatch.setattr(moegs_rasterizer.cpu, "unavailable_reason", lambda: reason)
    assert backend_name(ComputeDevice(device=CPU, backend=asked)) == name


def test_waiting_asks_the_cuda_back_end_alone_for_faults(monkeypatch):
    asked = []
    monkeypatch.setattr(moegs_rasterizer, "cuda", SimpleNamespace(check=lambda: asked.append(True)), raising=False)
    wait(ComputeDevice(device=CPU, backend="auto"))
    assert not asked
    wait(ComputeDevice(device=CUDA, backend="cuda"))
    assert asked == [True]


@pytest.mark.cuda
def test_memory_that_growing_tensors_leave_behind_is_given_back():
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    bound = torch.cuda.memory_reserved()  # by tensors and graphs of other tests of this process
    size = torch.cuda.memory_reserved() - torch.cuda.memory_allocated() + 20 * MEBIBYTE  # no gap between what is held
    while torch.cuda.memory_reserved() - bound <= 5 * torch.cuda.max_memory_allocated():
        before = torch.cuda.memory_reserved()
        torch.empty(size, dtype=torch.uint8, device="cuda")
        assert torch.cuda.memory_reserved() > before, "each is too large for the blocks of those before it"
        size += 2 * MEBIBYTE  # to which PyTorch rounds blocks up
    release_unused(CUDA)
    assert torch.cuda.memory_reserved() - bound <= KEPT * torch.cuda.max_memory_allocated()


@pytest.mark.cuda
def test_full_float32_and_no_choice_by_stopwatch():
    assert open_compute_device("auto", "auto") == ComputeDevice(device=CUDA, backend="cuda")
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    check_rasterizer(ComputeDevice(device=CUDA, backend="cuda"))
