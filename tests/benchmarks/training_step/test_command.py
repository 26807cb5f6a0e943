"""The profile of a training step: the loop's marks say where time was spent, and looking changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from benchmarks.training_step import command as profile
from benchmarks.training_step.stages import BACKWARD_RASTERIZE, REST, Spent, marks_of, step_marks
from benchmarks.workload import Workload, random_run
from common.marks import BACKWARD, DATA, UPDATE
from engine.errors import ConfigError
from engine.runs.device import CPU, CUDA, ComputeDevice
from engine.runs.run import Run
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.loop import Schedule, train
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from router import ENSEMBLES
from scenes.types import FrameStore
from tests.small_world import NAMES, small_run

SIZE = ["--gaussians", "60", "--width", "24", "--height", "16", "--iterations", "2"]
COMPILED = ComputeDevice(device=CPU, backend="cpu")


def command(*arguments: str) -> int:
    return profile.command([*SIZE, *arguments], prog="moegs.py profile-step", description="")


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> tuple[Run, torch.profiler.profile]:
    """A run that was profiled for three iterations, and the trace."""
    run = small_run(tmp_path_factory.mktemp("small"), COMPILED)
    trace, milliseconds = profile.trace_training(run, iterations=3, seed=0)
    assert milliseconds > 0
    return run, trace


def test_every_mark_is_set_once_an_iteration_in_order(traced):
    names = step_marks(NAMES)
    assert len(set(names)) == len(names) == 7 + len(NAMES)
    marks = marks_of(traced[1].events(), names)
    own = [each for each in marks if each.stage != BACKWARD_RASTERIZE]
    assert [each.stage for each in own] == 3 * [*names]
    assert all(before.end <= after.start for before, after in pairwise(own))
    outer = [each for each in marks if each.stage == BACKWARD]
    inner = [each for each in marks if each.stage == BACKWARD_RASTERIZE]
    assert all(a.start < b.start < b.end < a.end for a, b in zip(outer, inner, strict=True))


def test_the_stages_of_a_trace_add_up_to_its_iterations(traced):
    run, trace = traced
    iterations, marks = profile.read_stages(trace, run), marks_of(trace.events(), step_marks(NAMES))
    starts = [each.start for each in marks if each.stage == DATA]
    lengths = [after - before for before, after in zip(starts, [*starts[1:], marks[-1].end], strict=True)]
    assert [sum(one.host for one in each.values()) for each in iterations] == lengths
    for each in iterations:
        assert set(each) == {*step_marks(NAMES), BACKWARD_RASTERIZE, REST}
        assert not any(one.kernels for one in each.values())


def test_looking_changes_no_bit(traced, tmp_path):
    run, plain = traced[0], small_run(tmp_path, COMPILED)
    config = RunConfig(training=TrainingConfig(iterations=profile.WARM_UP_ITERATIONS + 2 * 3, seed=0))
    task = RouterTask(plain, make_optimiser(plain.router, config.training), config)
    assert train(task, Schedule(start=0, last=config.training.iterations, saves=(), evaluations=()), quiet=True)
    for ours, theirs in zip(run.router.parameters(), plain.router.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class Broken(FrameStore):
    """Frames that cannot be read."""

    def read(self, view, frame):
        raise OSError("the disk is gone")


def test_an_error_of_the_loop_is_raised_as_it_is(tmp_path):
    run = small_run(tmp_path, COMPILED)
    with pytest.raises(OSError, match="the disk is gone"):
        profile.trace_training(replace(run, scene=replace(run.scene, frames=Broken())), iterations=2, seed=0)


@pytest.mark.parametrize("iteration", [1, profile.WARM_UP_ITERATIONS + 1])  # before the trace, and in it
def test_an_interrupt_ends_the_profile(iteration, tmp_path, monkeypatch):
    update = RouterTask.update

    def interrupted(self, number):
        if number == iteration + 1:
            raise KeyboardInterrupt
        return update(self, number)

    monkeypatch.setattr(RouterTask, "update", interrupted)
    run = small_run(tmp_path, COMPILED)
    with pytest.raises(KeyboardInterrupt):
        profile.trace_training(run, iterations=1, seed=0)
    monkeypatch.undo()
    trace, _ = profile.trace_training(run, iterations=1, seed=0)  # the trace was closed: another can begin
    assert len(profile.read_stages(trace, run)) == 1


@pytest.mark.parametrize("ensemble", list(ENSEMBLES))
def test_every_stage_has_a_line_and_the_total_is_their_sum(ensemble, capsys):
    assert command("--device=cpu", "--backend=cpu", "--ensemble", ensemble) == 0
    table, operators = capsys.readouterr().out.split("\n\n")
    title, heading, *lines, alone = table.splitlines()
    assert title.startswith(f"{ensemble}: ") and title.endswith("; iterations: 5 to warm up, 2 timed, 2 profiled")
    assert re.search(r"random Gaussians, \d+x\d+ px, seed 0; CPU \(.*\), rasterizer back-end: cpu; ", title)
    assert re.split(" {2,}", heading) == ["stage", "host, ms (median)", "(min-max)", "share of host time"]
    assert re.fullmatch(r"mean without the profiler: \d+\.\d\d ms per iteration", alone)
    marks = step_marks(name for name in ENSEMBLES[ensemble].experts)
    wanted = [*marks[:-2], "backward: other", BACKWARD_RASTERIZE, UPDATE, REST, "total"]
    cells = [re.split(" {2,}", line) for line in lines]
    assert [stage for stage, *_ in cells] == wanted
    host = [float(median) for _, median, *_ in cells]
    # of two iterations the medians are the means, and rounded to 0.01
    assert host[-1] == pytest.approx(sum(host[:-1]), abs=0.005 * len(host))
    assert len(operators.splitlines()) == 1 + profile.LONGEST and "aten::" in operators


def spent(host: float, kernels: float) -> Spent:
    """Of milliseconds."""
    return Spent(host=round(1e6 * host), kernels=round(1e6 * kernels))


def test_the_table_of_a_gpu_shows_kernels_too():
    first = {DATA: spent(1, 0.25), BACKWARD: spent(2, 5), REST: spent(1, 0)}
    second = {DATA: spent(3, 0.25), BACKWARD: spent(2, 7), REST: spent(1, 0)}
    assert profile.stage_table([first, second], on_gpu=True).splitlines() == [
        "stage                           host, ms (median)  (min-max)        share of host time  kernels, ms",
        "target image                                 2.00  (1.00-3.00)                   40.0%         0.25",
        "backward                                     2.00  (2.00-2.00)                   40.0%         6.00",
        "other                                        1.00  (1.00-1.00)                   20.0%         0.00",
        "total                                        5.00  (4.00-6.00)                  100.0%         6.25",
    ]


def test_the_gpu_waits_for_the_host_where_kernels_take_less_than_the_iteration():
    kernels = [
        profile.KernelTotal(name="x" * 200, calls=2.0, milliseconds=3.0),
        profile.KernelTotal(name="y", calls=1.5, milliseconds=0.5),
    ]
    *_, longest, second, busy = profile.kernel_table(kernels, total=4.0, on_gpu=True).splitlines()
    assert longest.split() == ["3.000", "2.0", "x" * profile.NAME_WIDTH] and second.split() == ["0.500", "1.5", "y"]
    assert busy == "per iteration: GPU busy 3.50 of 4.00 ms (4 kernels and copies), idle 0.50 ms"


def test_kernels_of_which_nothing_was_recorded():
    assert "recorded nothing" in profile.kernel_table([], total=1.0, on_gpu=True)


def test_values_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="--gaussians is 0: give 1 or more"):
        command("--gaussians=0")


def test_random_experts_are_seen_and_repeat():
    def run(seed: int) -> Run:
        workload = Workload(gaussians=400, width=64, height=48, seed=seed)
        return random_run(workload, ENSEMBLES["E4"], ComputeDevice(device=CPU, backend="torch"))

    first, again, other = run(0), run(0), run(1)
    assert [expert.name for expert in first.experts] == list(ENSEMBLES["E4"].experts)
    camera = first.scene.views[0].camera
    for one, same, different in zip(first.experts, again.experts, other.experts, strict=True):
        means = one.at(150, camera=1).means
        assert torch.equal(means, same.at(150, camera=1).means)
        assert not torch.equal(means, different.at(150, camera=1).means)
        matrix = camera.world_to_camera
        x, y, depth = (means @ matrix[:3, :3].T + matrix[:3, 3]).unbind(1)
        across, down = camera.fx * x / depth + camera.cx, camera.fy * y / depth + camera.cy
        inside = (depth > 4) & (across > 0) & (across < 64) & (down > 0) & (down < 48)
        assert one.num_gaussians == 400 and inside.float().mean() > 0.7  # seen: 0.86


@pytest.mark.cuda
def test_on_a_gpu_every_kernel_of_an_iteration_has_a_stage(tmp_path):
    run = small_run(tmp_path, ComputeDevice(device=CUDA, backend="cuda"))
    trace, _ = profile.trace_training(run, iterations=3, seed=0)
    marks, kernels = marks_of(trace.events(), step_marks(NAMES)), profile.longest_kernels(trace, 3, on_gpu=True)
    assert [each.stage for each in marks if each.stage != BACKWARD_RASTERIZE] == 3 * [*step_marks(NAMES)]
    iterations = profile.read_stages(trace, run)
    for each in iterations:
        assert all(each[stage].kernels > 0 for stage in (DATA, BACKWARD, BACKWARD_RASTERIZE, UPDATE))
    launched = sum(one.kernels for each in iterations for one in each.values()) / 1e6 / 3
    assert launched == pytest.approx(sum(kernel.milliseconds for kernel in kernels), rel=1e-3)


@pytest.mark.cuda
def test_on_a_gpu_the_kernels_are_listed_too(capsys):
    assert command("--device=cuda") == 0
    out = capsys.readouterr().out
    assert "host, ms" in out and "kernels, ms" in out and "GPU busy" in out and "kernel (torch.profiler)" in out
