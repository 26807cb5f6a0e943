"""The benchmark on a GPU: its whole table, its kernels, its counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.rasterizer import cuda_table
from benchmarks.rasterizer.plans import trained_like_frame
from benchmarks.rasterizer.roofline import count_layers

pytestmark = pytest.mark.cuda


def test_whole_table_on_the_gpu(gpu, capsys):
    cuda_table.print_gpu_table(gpu, replace(cuda_table.QUICK_SIZES, repeats=3), seed=0)
    printed = capsys.readouterr().out
    assert "between one launch and four calls: 0;" in printed
    assert "kernels that no stage claims" not in printed
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("|")]
    times = {row[1].strip(): row[2].strip() for row in rows}
    for stage in ("projection", "depth sort", "scan", "instances", "tile sort", "ranges", "blending"):
        assert float(times[f"{cuda_table.FORWARD}: {stage}"]) > 0
    for stage in ("blending backward", "projection backward"):
        assert float(times[f"{cuda_table.FULL_STEP}: {stage}"]) > 0


def test_counts_on_the_gpu_are_those_on_the_cpu(gpu):
    made = [
        trained_like_frame(count=300, layers=2, features=3, size=(70, 50), seed=2, device=device)
        for device in (torch.device("cpu"), gpu)
    ]
    on_cpu, on_gpu = (count_layers(frame.layers, frame.camera) for frame in made)
    # Rounding moves single pairs across 1/255.
    assert on_gpu.instances == pytest.approx(on_cpu.instances, rel=0.005)
    assert on_gpu.tested == pytest.approx(on_cpu.tested, rel=0.005)
    assert on_gpu.blended == pytest.approx(on_cpu.blended, rel=0.005)
