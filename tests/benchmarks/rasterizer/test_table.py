"""The benchmark's stages, goals and table."""

from __future__ import annotations

import re
import subprocess
import types
from pathlib import Path

import moegs_rasterizer
import pytest
import torch
from moegs_rasterizer import RasterizerError

from benchmarks.rasterizer import cuda_table, machine
from benchmarks.rasterizer.kernel_stages import OUR_KERNELS, KernelRun, device_times, function_name, unknown
from benchmarks.rasterizer.measurement import Timing, spread
from benchmarks.rasterizer.plans import trained_like_frame
from benchmarks.rasterizer.roofline import Machine, count_layers
from benchmarks.rasterizer.table import AtMost, Faster, estimate_row, markdown, stage_rows, timing_rows, title

CUB = "void cub::CUB_300001_SM_900::detail::"


def test_stages_of_a_pass():
    names = [
        "Memset (Device)",
        "moegs::(anonymous namespace)::project_kernel(moegs::ProjectCall)",
        f"{CUB}radix_sort::DeviceRadixSortHistogramKernel<cub::Policy<int>, unsigned int>(int*)",
        f"{CUB}radix_sort::DeviceRadixSortOnesweepKernel<cub::Policy<int>, unsigned int>(int*)",
        f"{CUB}scan::DeviceScanKernel<cub::Policy<long>>(long*)",
        "void moegs::(anonymous namespace)::write_kernel<unsigned short>(moegs::BinCall, unsigned short*, int*)",
        f"{CUB}radix_sort::DeviceRadixSortOnesweepKernel<cub::Policy<int>, unsigned short>(int*)",
        "void moegs::(anonymous namespace)::ranges_kernel<unsigned short>(moegs::BinCall, unsigned short const*)",
        "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>(int)",
        "void someone::elses::new_kernel<float>(float*)",
        "void moegs::(anonymous namespace)::backward_kernel<2, false, true>(moegs::BlendBackwardCall, int)",
        f"{CUB}radix_sort::DeviceRadixSortOnesweepKernel<cub::Policy<int>, unsigned int>(int*)",
    ]
    runs = 2
    kernels = [
        KernelRun(name=name, start=float(turn * 100 + index), milliseconds=2.0 ** (index - 1))
        for turn in range(runs)
        for index, name in enumerate(names)
    ]
    times = device_times(kernels, runs)
    assert times == {
        "copies and fills": 0.5,
        "projection": 1,
        "depth sort": 2 + 4,
        "scan": 8,
        "instances": 16,
        "tile sort": 32,
        "ranges": 64,
        "PyTorch": 128,
        "new_kernel": 256,
        "blending backward": 512,
        "ordered sums": 1024,
    }
    assert unknown(times) == ["new_kernel"]


OUTSIDE = ("gates.cu", "loss.cu", "motion.cu")  # what is done beside rasterizing: benchmarks/realtime times it


def test_every_kernel_of_ours_has_a_stage():
    sources = Path(moegs_rasterizer.__file__).parent / "csrc" / "cuda"
    files = [path for path in sorted(sources.glob("*.cu*")) if path.name not in OUTSIDE]
    text = "\n".join(path.read_text(encoding="utf8") for path in files)
    names = re.findall(r"__global__\s+void(?:\s+__launch_bounds__\([^)]*\))?\s+(\w+)\s*\(", text)
    assert text.count("__global__") == len(names)
    assert set(names) == set(OUR_KERNELS)


def test_function_names():
    assert function_name("void (anonymous namespace)::f<int (*)(float)>(int)") == "f"
    assert function_name("Memcpy DtoH (Device -> Pinned)") == "Memcpy DtoH"


def _timing(queued: float, single: float) -> Timing:
    return Timing(queued=spread([queued]), single=spread([single]))


def test_goals_look_at_the_queued_median():
    timings = {"ours": _timing(2.0, 5.0), "theirs": _timing(3.0, 5.0)}
    goals = [
        Faster(row="ours", slower="theirs", least=1.5),
        Faster(row="ours", slower="theirs", least=1.51),
        Faster(row="ours", slower="not measured", least=9),
        AtMost(row="ours", milliseconds=2.0),
        AtMost(row="ours", milliseconds=1.9),
    ]
    ours, theirs = timing_rows(timings, goals)
    verdicts = ours.cells[3].split("; ")
    assert verdicts[0] == "1.50x (one at a time 1.00x) as fast as theirs"
    assert [text for text in verdicts if text.startswith("goal")] == ["goal 1.5x: met", "goal 1.51x: missed"]
    assert verdicts[-2:] == ["at most 2 ms on an H100: met", "at most 1.9 ms on an H100: missed"]
    assert "not measured" not in ours.cells[3]
    assert theirs.cells == ("theirs", "3.00 (3.00-3.00)", "5.00 (5.00-5.00)", "")


def test_goals_name_rows_that_are_measured():
    plans = {*cuda_table.PLANS, *cuda_table.BACKWARDS.values()}
    layers = {f"{count:,}, " for count in cuda_table.FULL_SIZES.counts}
    for goal in cuda_table.GOALS:
        rows = [goal.row] if isinstance(goal, AtMost) else [goal.row, goal.slower]
        assert all(row in plans or any(row.startswith(start) for start in layers) for row in rows)


def test_stages_beside_their_estimates():
    rows = stage_rows("forward", {"projection": 0.25, "scan": 0.5}, {"projection": 0.125, "blending": 0.25})
    assert [row.cells[0] for row in rows] == [
        "forward: projection",
        "forward: scan",
        "forward: blending",
        "forward: all kernels",
    ]
    assert [row.cells[3] for row in rows] == [
        "2.0x the estimate of 0.125",
        "no estimate",
        "0.0x the estimate of 0.25",
        "2.0x the estimate of 0.375",
    ]
    assert stage_rows("forward", {"scan": 0.5}, {})[-1].cells[3] == "no estimate"
    assert estimate_row("forward", _timing(1.0, 2.0), 0.5, 2).cells[3].endswith("goal at most 2x: met")
    assert stage_rows("forward", {"scan": 0.5}, {})[-1].cells[3] == "no estimate"
    assert estimate_row("forward", _timing(1.0, 2.0), 0.5, None).cells[3] == "2.0x the estimate of 0.5"
    assert estimate_row("forward", _timing(1.01, 2.0), 0.5, 2).cells[3].endswith("goal at most 2x: missed")


def test_table_is_markdown():
    lines = markdown([title("(a)"), *timing_rows({"ours": _timing(1, 2)}, [])]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {5}
    assert len({line.rindex("|", 0, -1) for line in lines}) == 1
    assert set(lines[1]) == set("|- ")


@pytest.fixture
def stage_part(monkeypatch):
    """The part of the table about stages, as a function of the kernels that the profiler would see."""
    frames = [trained_like_frame(count=20, layers=2, features=3, size=(40, 24), seed=0, device=torch.device("cpu"))]
    rates = Machine(bytes_per_second=1e12, warp_instructions_per_second=1e12)
    monkeypatch.setattr(cuda_table, "machine_of", lambda device: rates)

    def part(names: list[str]) -> list[tuple[str, ...]]:
        kernels = [KernelRun(name=name, start=0.0, milliseconds=1.5) for name in names]
        monkeypatch.setattr(cuda_table, "profiled", lambda work, *, sets, runs: runs * kernels)
        counts = count_layers(frames[0].layers, frames[0].camera)
        return [row.cells for row in cuda_table._stage_part(frames, counts, _timing(1.0, 2.0), None)]

    return part


def test_stages_of_every_step(stage_part, capsys):
    rows = {cells[0]: cells[1:] for cells in stage_part(["project_kernel", "blend_kernel", "surprise"])}
    assert rows["forward, one launch, as in (b)"][0] == "1.00 (1.00-1.00)"
    for step in cuda_table.STEPS:
        assert rows[f"{step}: projection"][0] == "1.500"
        assert rows[f"{step}: surprise"] == ("1.500", "", "no estimate")
        assert rows[f"{step}: all kernels"][0] == "4.500"
        assert (f"{step}: blending backward" in rows) == (step != cuda_table.FORWARD)
    assert capsys.readouterr().out.count("kernels outside the known stages: surprise") == 3


def test_stages_without_a_profiler_or_a_clock_are_left_out(stage_part, monkeypatch, capsys):
    assert [cells[0] for cells in stage_part([])] == ["forward, one launch, as in (b)"]
    assert capsys.readouterr().out.count("torch.profiler recorded no kernels") == 3

    def refuse(device: torch.device) -> Machine:
        raise RasterizerError("no clock")

    monkeypatch.setattr(cuda_table, "machine_of", refuse)
    rows = stage_part(["project_kernel"])
    assert rows[:2] == [
        ("forward: projection", "1.500", "", "no estimate"),
        ("forward: all kernels", "1.500", "", "no estimate"),
    ]
    assert "No estimate: no clock" in capsys.readouterr().out


def test_machine_by_hand(monkeypatch):
    def answer(command, **options):
        fields = command[2].removeprefix("--query-gpu=").split(",")
        assert command[:2] == ["nvidia-smi", "--id=GPU-12-34"]
        return types.SimpleNamespace(stdout=", ".join({"clocks.max.sm": "1755"}[field] for field in fields) + "\n")

    properties = types.SimpleNamespace(uuid="12-34", multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(machine, "measure_copy", lambda device, *, size: 3e12)
    monkeypatch.setattr(subprocess, "run", answer)
    rates = machine.machine_of(torch.device("cuda"))
    assert rates.warp_instructions_per_second == pytest.approx(926.64e9)  # 132 x 4 x 1.755 GHz
    assert rates.bytes_per_second == 3e12

    def fail(command, **options):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(RasterizerError, match=r"did not tell clocks\.max\.sm of GPU-12-34"):
        machine.machine_of(torch.device("cuda"))


def test_copies_are_counted_twice(monkeypatch):
    timing = Timing(queued=spread([4.0, 2.0]), single=spread([9.0]))
    monkeypatch.setattr(machine, "measure", lambda work, device, *, sets, repeats: (timing, timing))
    rate = machine.measure_copy(torch.device("cpu"), size=1_000)
    assert rate == pytest.approx(1e6)  # 1,000 bytes read and written in 2 ms
