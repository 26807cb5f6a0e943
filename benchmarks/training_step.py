"""How long each stage of a router's training step takes: `python moegs.py profile-step`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from moegs_rasterizer.types import Backend
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from benchmarks.random_run import Workload, random_run
from benchmarks.stages import Spent, Timeline, instrumented, stages
from engine.errors import ConfigError
from engine.runs.checks import check_rasterizer
from engine.runs.device import DeviceChoice, device_name, open_compute_device, peak_memory
from engine.runs.run import Run
from engine.settings.command_line import flag, parse, set_up_logging
from engine.settings.run import TrainingConfig
from engine.training.router_optimiser import make_optimiser
from engine.training.router_steps import training_steps
from router import ENSEMBLES

WARM_UP = 5  # iterations before the timed ones: memory is allocated, libraries are loaded
TRACED = 3  # iterations from which the longest kernels are taken
LONGEST = 10
NAME_WIDTH = 100  # characters of a kernel's name


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileConfig:
    """What to time."""

    gaussians: Annotated[int, flag("Gaussians of each expert")] = 200_000
    width: Annotated[int, flag("width of the images, pixels")] = 1352
    height: Annotated[int, flag("height of the images, pixels")] = 1014
    ensemble: Annotated[Literal["E4", "E3", "E3_tech"], flag("experts that are blended")] = "E4"
    iterations: Annotated[int, flag(f"timed iterations, after {WARM_UP} that are not")] = 20
    device: Annotated[DeviceChoice, flag("where to compute; auto: on the GPU where there is one, else on the CPU")] = (
        "auto"
    )
    backend: Annotated[Backend, flag("rasterizer, as in training")] = "auto"
    seed: Annotated[int, flag("seed of the experts, the router, the image and the order of frames")] = 0
    debug: Annotated[bool, flag("show the traceback of an error")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A GPU kernel, on a CPU an operator."""

    name: str
    calls: float  # an iteration
    milliseconds: float  # an iteration


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Prints the table of stages, and the longest kernels (on a CPU operators)."""
    config = parse(ProfileConfig, argv, defaults=ProfileConfig(), prog=prog, description=description)
    for name in ("gaussians", "width", "height", "iterations"):
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name} is {getattr(config, name)}: give 1 or more")
    set_up_logging(quiet=False)
    compute = open_compute_device(config.device, config.backend)
    check_rasterizer(compute)
    workload = Workload(gaussians=config.gaussians, width=config.width, height=config.height, seed=config.seed)
    run = random_run(workload, ENSEMBLES[config.ensemble], compute)
    timed = time_stages(run, iterations=config.iterations, seed=config.seed)
    print(
        f"{config.ensemble}: {len(run.experts)} experts of {config.gaussians} random Gaussians, {config.width}x"
        f"{config.height}, seed {config.seed}; {device_name(run.device)}, back-end {run.backend}; "
        f"{config.iterations} iterations after {WARM_UP}"
    )
    print(stage_table(run, timed))
    print(kernel_table(run, longest_kernels(run, seed=config.seed), total=_median(timed)))
    memory = peak_memory(run.device)
    if memory is not None:
        print(f"most GPU memory in tensors at a time: {memory} MiB")
    return 0


def time_stages(run: Run, *, iterations: int, seed: int) -> list[dict[str, Spent]]:
    """Time by stage of every iteration of the training loop after the first WARM_UP; the run's router learns."""
    training = TrainingConfig(iterations=WARM_UP + iterations, seed=seed)
    timeline, optimiser = Timeline(run.device), make_optimiser(run.router, training)
    with instrumented(run, optimiser, timeline), closing(training_steps(run, optimiser, training)) as steps:
        timeline.begin_iteration()
        for _ in steps:
            timeline.begin_iteration()
    return timeline.iterations()[WARM_UP:]


def stage_table(run: Run, timed: Sequence[Mapping[str, Spent]]) -> str:
    """One line a stage: median and range of its milliseconds, its share of the total; on a GPU the host's as well."""
    on_gpu = run.device.type == "cuda"
    total = _median(timed)
    heading = f"{'stage':30}{'median ms':>10}  {'(least-most)':19}{'share':>6}"
    lines = [heading + f"{'host ms':>10}" * on_gpu]
    for stage in (*stages(run), "total"):
        spent = [_total(each) if stage == "total" else each.get(stage, _NOTHING) for each in timed]
        device = [one.device for one in spent]
        span, median = f"({min(device):.2f}-{max(device):.2f})", statistics.median(device)
        host = f"{statistics.median(one.host for one in spent):10.2f}" * on_gpu
        lines.append(f"{stage:30}{median:10.2f}  {span:19}{median / total:6.1%}{host}")
    return "\n".join(lines)


_NOTHING = Spent(device=0.0, host=0.0)


def _total(spent: Mapping[str, Spent]) -> Spent:
    return Spent(device=sum(one.device for one in spent.values()), host=sum(one.host for one in spent.values()))


def _median(timed: Sequence[Mapping[str, Spent]]) -> float:
    """Milliseconds of an iteration."""
    return statistics.median(_total(each).device for each in timed)


def longest_kernels(run: Run, *, seed: int) -> list[Kernel]:
    """Every kernel (on a CPU operator) of TRACED iterations after WARM_UP others, the longest first."""
    training = TrainingConfig(iterations=WARM_UP + TRACED, seed=seed)
    on_gpu = run.device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with closing(training_steps(run, make_optimiser(run.router, training), training)) as steps:
        for _ in range(WARM_UP):
            next(steps)
        with torch.profiler.profile(activities=[activity]) as trace:
            for _ in range(TRACED):
                next(steps)
            if on_gpu:
                torch.cuda.synchronize()
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    kernels = [
        Kernel(
            name=event.key,
            calls=event.count / TRACED,
            milliseconds=(event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000 / TRACED,
        )
        for event in trace.key_averages()
        if event.device_type == wanted and not event.is_user_annotation
    ]
    return sorted(kernels, key=lambda kernel: kernel.milliseconds, reverse=True)


def kernel_table(run: Run, kernels: Sequence[Kernel], *, total: float) -> str:
    """The LONGEST kernels; on a GPU also how long it was busy, of an iteration's milliseconds `total`."""
    if not kernels:
        return "torch.profiler recorded nothing: on a GPU it needs CUPTI, and the right to use it"
    what = "kernel" if run.device.type == "cuda" else "operator"
    lines = [f"\n{'ms':>8}{'calls':>8}  {what}, an iteration, by torch.profiler"]
    lines += [f"{each.milliseconds:8.3f}{each.calls:8.1f}  {each.name[:NAME_WIDTH]}" for each in kernels[:LONGEST]]
    if run.device.type == "cuda":
        busy, calls = sum(each.milliseconds for each in kernels), sum(each.calls for each in kernels)
        lines.append(
            f"GPU busy {busy:.2f} ms of {total:.2f} ms an iteration with {calls:.0f} kernels and copies; "
            f"{max(total - busy, 0):.2f} ms it waited for the host"
        )
    return "\n".join(lines)
