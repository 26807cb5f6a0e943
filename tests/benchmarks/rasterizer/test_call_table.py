"""The benchmark's table of single calls."""

from __future__ import annotations

import pytest
import torch

from benchmarks.rasterizer.call_table import HEADINGS, CallTimes, call_markdown, call_row, print_call_table
from benchmarks.rasterizer.measurement import Timing, spread


def times_of(*, kernels: float | None, single: float) -> CallTimes:
    timing = Timing(queued=spread([0.4]), single=spread([single, single - 0.01, single + 9]))
    stages = {} if kernels is None else {"projection": 0.1, "blending": kernels - 0.1}
    return CallTimes(stages=stages, timing=timing, host=0.0625)


@pytest.mark.parametrize(
    ("kernels", "single", "cells"),
    [
        (0.300, 0.449, ("0.300", "0.149; goal at most 0.15: met")),
        (0.300, 0.460, ("0.300", "0.160; goal at most 0.15: missed")),
        (None, 0.460, ("not seen", "unknown")),
    ],
)
def test_a_call_beside_its_kernels(kernels, single, cells):
    row = dict(zip(HEADINGS, call_row("one", times_of(kernels=kernels, single=single)), strict=True))
    assert (row["kernels"], row["beside its kernels"]) == cells
    assert row["one at a time"].startswith(f"{single:.2f} ")
    assert row["host busy"] == "0.062"


@pytest.mark.usefixtures("cpp_back_end")
def test_the_table_without_a_gpu_has_no_kernels(capsys):
    print_call_table(torch.device("cpu"), counts=(20,), size=(32, 24), repeats=2)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 20, ")]
    assert len(rows) == 4
    assert all("not seen" in row for row in rows)


@pytest.mark.cuda
def test_the_table_on_the_gpu(gpu, capsys):
    print_call_table(gpu, counts=(2000, 3000), size=(160, 120), repeats=3)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 22
    assert all(float(row[1]) > 0 and float(row[5].rstrip(" |")) > 0 for row in rows)


def test_the_table_is_markdown():
    lines = call_markdown([("a", "b", "c", "d", "e", "f")]).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|") == len(HEADINGS) + 1
