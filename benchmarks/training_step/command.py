"""Times of the stages of a router's training step: `python moegs.py profile-step`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from benchmarks.training_step.settings import WARM_UP_ITERATIONS, read_profile_settings
from benchmarks.training_step.stages import BACKWARD_RASTERIZE, Spent, launches_of, marks_of, stage_times, step_marks
from benchmarks.workload import Workload, random_run
from common.marks import BACKWARD, DATA, marks_are_set
from common.text.tables import Column, table_lines
from common.text.wording import counted
from engine.checks.rasterizer import check_rasterizer
from engine.runs.device import device_facts, open_compute_device, peak_memory, wait
from engine.runs.run import Run
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.loop import Schedule, train
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from router import ENSEMBLES

LONGEST = 10
NAME_WIDTH = 100  # characters of a kernel's name
MILLISECOND = 1e6  # nanoseconds
STAGE_COLUMNS = (
    Column(heading="stage", gap=0, width=30, left=True),
    Column(heading="host, ms (median)", gap=2),
    Column(heading="(min-max)", gap=2, width=15, left=True),
    Column(heading="share of host time", gap=2),
    Column(heading="kernels, ms", gap=2),  # on a GPU
)
KERNEL_COLUMNS = (Column(heading="ms per iteration", gap=0), Column(heading="calls per iteration", gap=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTotal:
    """All runs of one GPU kernel, on a CPU of one operator, in an average iteration."""

    name: str
    calls: float
    milliseconds: float


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Prints the table of stages, and the longest kernels (on a CPU operators)."""
    config = read_profile_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=False, debug=config.debug)
    compute = open_compute_device(config.device, config.backend)
    check_rasterizer(compute)
    workload = Workload(gaussians=config.gaussians, width=config.width, height=config.height, seed=config.seed)
    run = random_run(workload, ENSEMBLES[config.ensemble], compute)
    trace, milliseconds = trace_training(run, iterations=config.iterations, seed=config.seed)
    print(
        f"{config.ensemble}: {len(run.experts)} experts of {counted(config.gaussians, 'random Gaussian')}, "
        f"{config.width}x{config.height} px, seed {config.seed}; {device_facts(compute)}; "
        f"iterations: {WARM_UP_ITERATIONS} to warm up, {config.iterations} timed, {config.iterations} profiled"
    )
    on_gpu = run.device.type == "cuda"
    print(stage_table(read_stages(trace, run), on_gpu=on_gpu))
    print(f"mean without the profiler: {milliseconds:.2f} ms per iteration")
    print(kernel_table(longest_kernels(trace, config.iterations, on_gpu=on_gpu), total=milliseconds, on_gpu=on_gpu))
    memory = peak_memory(run.device)
    if memory is not None:
        print(f"peak GPU memory of tensors: {memory} MiB")
    return 0


def trace_training(run: Run, *, iterations: int, seed: int) -> tuple[torch.profiler.profile, float]:
    """Trains the run's router for WARM_UP_ITERATIONS, then twice for `iterations`: by the clock, and in a trace.

    Returns the trace, and an iteration's milliseconds without it, on average. Raises KeyboardInterrupt after a signal.
    """
    on_gpu, timed_from, traced_from = run.device.type == "cuda", WARM_UP_ITERATIONS, WARM_UP_ITERATIONS + iterations
    training = TrainingConfig(iterations=traced_from + iterations, seed=seed)
    task = RouterTask(run, make_optimiser(run.router, training), RunConfig(training=training))
    schedule = Schedule(start=0, last=training.iterations, saves=(), evaluations=())
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]
    trace = torch.profiler.profile(activities=activities, acc_events=True)  # else PyTorch 2.11 warns of further traces
    clock: list[float] = []
    with ExitStack() as tracing:

        def look_on(iteration: int) -> None:
            if iteration in (timed_from, traced_from):
                wait(run.compute)
                clock.append(time.perf_counter())
            if iteration == traced_from:
                tracing.enter_context(marks_are_set())
                tracing.enter_context(trace)

        if not train(task, schedule, quiet=True, each=look_on):
            raise KeyboardInterrupt
        wait(run.compute)
    return trace, 1000 * (clock[1] - clock[0]) / iterations


def read_stages(trace: torch.profiler.profile, run: Run) -> list[dict[str, Spent]]:
    """Time by stage of a trace's iterations."""
    events = trace.events()
    marks = marks_of(events, step_marks(expert.name for expert in run.experts))
    return stage_times(marks, launches_of(events), first=DATA)


def longest_kernels(trace: torch.profiler.profile, iterations: int, *, on_gpu: bool) -> list[KernelTotal]:
    """Every kernel of a trace, on a CPU every operator without those that it calls; the longest first."""
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    kernels = [
        KernelTotal(
            name=event.key,
            calls=event.count / iterations,
            milliseconds=(event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000 / iterations,
        )
        for event in trace.key_averages()
        if event.device_type == wanted and not event.is_user_annotation
    ]
    return sorted(kernels, key=lambda kernel: kernel.milliseconds, reverse=True)


def stage_table(iterations: Sequence[Mapping[str, Spent]], *, on_gpu: bool) -> str:
    """One line a stage: median and range of the host's milliseconds, their share; on a GPU its kernels' as well."""
    rows = {stage: [each[stage] for each in iterations] for stage in iterations[0]}
    if BACKWARD_RASTERIZE in rows:
        rows = {"backward: other" if stage == BACKWARD else stage: spent for stage, spent in rows.items()}
    rows["total"] = [_sum(each.values()) for each in iterations]
    total = _median(spent.host for spent in rows["total"])
    lines = []
    for stage, spent in rows.items():
        host = [one.host / MILLISECOND for one in spent]
        median = statistics.median(host)
        kernels = [f"{_median(one.kernels for one in spent):.2f}"] if on_gpu else []
        span = f"({min(host):.2f}-{max(host):.2f})"
        lines.append([stage, f"{median:.2f}", span, f"{median / total:.1%}", *kernels])
    return "\n".join(table_lines(STAGE_COLUMNS if on_gpu else STAGE_COLUMNS[:-1], lines))


def _sum(stages: Collection[Spent]) -> Spent:
    return Spent(host=sum(one.host for one in stages), kernels=sum(one.kernels for one in stages))


def _median(nanoseconds: Iterable[int]) -> float:
    """In milliseconds."""
    return statistics.median(nanoseconds) / MILLISECOND


def kernel_table(kernels: Sequence[KernelTotal], *, total: float, on_gpu: bool) -> str:
    """The LONGEST kernels; on a GPU also how long it was busy, of an iteration's milliseconds `total`."""
    if not kernels:
        return "torch.profiler recorded nothing: on a GPU it needs CUPTI, and the right to use it"
    what = "kernel" if on_gpu else "operator"
    columns = (*KERNEL_COLUMNS, Column(heading=f"{what} (torch.profiler)", gap=2, left=True))
    rows = [(f"{each.milliseconds:.3f}", f"{each.calls:.1f}", each.name[:NAME_WIDTH]) for each in kernels[:LONGEST]]
    lines = ["", *table_lines(columns, rows)]
    if on_gpu:
        busy, calls = sum(each.milliseconds for each in kernels), sum(each.calls for each in kernels)
        lines.append(
            f"per iteration: GPU busy {busy:.2f} of {total:.2f} ms ({calls:.0f} kernels and copies), "
            f"idle {max(total - busy, 0):.2f} ms"
        )
    return "\n".join(lines)
