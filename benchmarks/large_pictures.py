"""GPU memory of pictures of N3V's own size: `python -m benchmarks.large_pictures` trains and renders random models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.workload import add_size_flags, random_run, workload_of
from common.text.tables import Column, table_lines
from common.text.units import GIGABYTE
from common.text.wording import counted
from engine.checks.rasterizer import check_rasterizer
from engine.runs.device import device_facts, open_compute_device, wait
from engine.runs.run import Run, mix_view
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.loop import Schedule, train
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from router import ENSEMBLES

COLUMNS = (
    Column(heading="work", gap=0, width=16, left=True),
    Column(heading="tensors, GB", gap=2),
    Column(heading="held by PyTorch, GB", gap=2),
    Column(heading="in use on the GPU, GB", gap=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Most memory of a GPU so far, bytes."""

    tensors: int
    held: int  # by PyTorch, for tensors
    in_use: int  # by everything on the GPU at the end


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the GPU memory that the router's training and rendering take; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_pictures", description=main.__doc__)
    parser.add_argument("--ensemble", choices=ENSEMBLES, default="E4", help="experts (default: E4)")
    add_size_flags(parser, gaussians=500_000, width=2704, height=2028)
    parser.add_argument("--steps", type=int, default=5, help="training steps, then frames to render (default: 5)")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to use")
    given = parser.parse_args(arguments)
    compute = open_compute_device(given.device, "auto")
    check_rasterizer(compute)
    workload = workload_of(given)
    run = random_run(workload, ENSEMBLES[given.ensemble], compute)
    print(
        f"{given.ensemble}: {len(run.experts)} experts of {counted(given.gaussians, 'random Gaussian')}, "
        f"{given.width}x{given.height} px; {device_facts(compute)}"
    )
    rows = []
    for work, done in (("router's training", train_router), ("rendering", render)):
        forget_peaks(run)
        done(run, given.steps)
        memory = memory_of(run)
        numbers = ("not measured on a CPU",) if memory is None else (memory.tensors, memory.held, memory.in_use)
        rows.append([work, *(each if isinstance(each, str) else f"{each / GIGABYTE:.2f}" for each in numbers)])
    print(*(table_lines(COLUMNS, rows) if compute.device.type == "cuda" else map(": ".join, rows)), sep="\n")
    return 0


def train_router(run: Run, steps: int) -> None:
    """Trains a run's router; raises ConfigError where its loss is not finite."""
    training = TrainingConfig(iterations=steps)
    optimiser = make_optimiser(run.router, training)
    with RouterTask(run, optimiser, RunConfig(training=training)) as task:
        schedule = Schedule(start=0, last=steps, saves=(), evaluations=())
        if not train(task, schedule, quiet=True):
            raise KeyboardInterrupt


def render(run: Run, steps: int) -> None:
    """Renders frames; raises ValueError where one holds values that are not finite, as after an overflow."""
    for frame in range(steps):
        mixture = mix_view(run, frame % len(run.scene.views), frame)
        wait(run.compute)
        if not bool(mixture.image.isfinite().all()):
            raise ValueError(f"frame {frame}: the image holds values that are not finite")


def forget_peaks(run: Run) -> None:
    """Begins a new measurement of the most memory."""
    if run.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(run.device)


def memory_of(run: Run) -> Memory | None:
    """The most memory since the measurement began; None on a CPU."""
    if run.device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(run.device)
    return Memory(
        tensors=torch.cuda.max_memory_allocated(run.device),
        held=torch.cuda.max_memory_reserved(run.device),
        in_use=total - free,
    )


if __name__ == "__main__":
    sys.exit(main())
