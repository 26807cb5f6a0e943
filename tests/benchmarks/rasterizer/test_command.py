"""The benchmark's command prints the CPU's table, and refuses arguments that make no sense."""

from __future__ import annotations

import sys
import types

import moegs_rasterizer
import pytest
import torch
from moegs_rasterizer import RasterizerError
from moegs_rasterizer.cpu import loading

from benchmarks.rasterizer import command, cpu_table


def _printed(monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    command.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--quick"]])
@pytest.mark.usefixtures("cpp_back_end")
def test_benchmark_prints_every_back_end(monkeypatch, capsys, flags):
    tiny = cpu_table.Case(count=50, width=32, height=24, repeats=2, oracle=True)
    monkeypatch.setattr(cpu_table, "QUICK_CASE" if flags else "SMALL_CASE", tiny)
    printed = _printed(monkeypatch, capsys, "--device", "cpu", "--threads", "1", *flags)
    assert printed.count("50 Gaussians (seed 0), 32x24 px") == len(cpu_table.KINDS)
    for name in (*(f"cpu {isa}" for isa in loading.available_isas()), "torch"):
        assert sum(line.startswith(name) for line in printed.splitlines()) == len(cpu_table.KINDS)


@pytest.mark.usefixtures("cpp_back_end")
def test_benchmark_without_a_gpu_times_the_cpu(monkeypatch, capsys):
    monkeypatch.setattr(cpu_table, "SMALL_CASE", cpu_table.Case(count=9, width=16, height=16, repeats=1, oracle=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "torch" not in _printed(monkeypatch, capsys, "--threads", "1", "--no_oracle")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--large", "--quick"], "contradict"),
        (["--repeats", "0"], "below 1"),
        (["--stages", "--calls"], "leave one out"),
        (["--calls", "--device", "cpu"], "--calls times a GPU"),
        (["--stages", "--device", "cpu"], "--stages times a GPU"),
        (["--device", "gpu"], "invalid choice"),
    ],
)
def test_benchmark_refuses_arguments_that_make_no_sense(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_flags_of_the_cpu_are_refused_on_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(command, "_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(sys, "argv", ["benchmark", "--threads", "2", "--no_oracle"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--threads, --no_oracle changes nothing on a GPU" in capsys.readouterr().err


def test_an_error_of_the_rasterizer_ends_the_benchmark_in_one_line(monkeypatch):
    def refuse(name: str) -> torch.device:
        raise RasterizerError("no nvcc")

    monkeypatch.setattr(command, "_device", refuse)
    monkeypatch.setattr(sys, "argv", ["benchmark"])
    with pytest.raises(SystemExit, match="error: no nvcc"):
        command.main()


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_without_its_back_end_says_why(monkeypatch, capsys, device):
    broken = types.ModuleType("moegs_rasterizer.cuda")
    monkeypatch.setattr(broken, "unavailable_reason", lambda: "no nvcc", raising=False)
    monkeypatch.setitem(sys.modules, "moegs_rasterizer.cuda", broken)
    monkeypatch.setattr(moegs_rasterizer, "cuda", broken, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if device == "cuda":
        with pytest.raises(RasterizerError, match="--device cuda cannot run here: no nvcc"):
            command._device(device)
    else:
        assert command._device(device) == torch.device("cpu")
        assert "CUDA back-end not available, timing the CPU: no nvcc" in capsys.readouterr().err
