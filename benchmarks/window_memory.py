"""GPU memory and speed of a router over windows, on random Gaussians: `python -m benchmarks.window_memory`."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch

from benchmarks.trained_scenes import trained_like_scene
from benchmarks.workload import Workload, random_run, vary_weights
from common.text.tables import Column, table_lines
from common.text.units import MEBIBYTE
from engine.runs.device import ComputeDevice, device_facts, open_compute_device, wait
from engine.runs.run import Run, mix_view
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.loop import Schedule, train
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from experts import EXPERTS, Expert
from experts.random_models import NUM_FRAMES
from experts.windows.folders import planned_windows
from experts.windows.model import WindowedExpert, on_device
from router import Router, ensemble_of

WARM_UP = 10  # steps, and frames
COLUMNS = (
    Column(heading="windows", gap=0),
    Column(heading="Gaussians", gap=2),
    Column(heading="peak of the training, MiB", gap=2),
    Column(heading="training, images/s", gap=2),
    Column(heading="peak of the rendering, MiB", gap=2),
    Column(heading="rendering, images/s", gap=2),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a router over experts of 1, 2, 6 windows, render all frames, and print memory and images a second."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.window_memory", description=main.__doc__)
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 2, 6], help="of each expert (default: 1 2 6)")
    parser.add_argument("--experts", nargs="+", default=["FreeTime", "STG"], help="names (default: FreeTime STG)")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to time")
    parser.add_argument("--gaussians", type=int, default=200_000, help="of each window (default: 200000)")
    parser.add_argument("--width", type=int, default=1352, help="width of the images, in px (default: 1352)")
    parser.add_argument("--height", type=int, default=1014, help="height of the images, in px (default: 1014)")
    parser.add_argument("--overlap", type=int, default=10, help="frames that two windows share (default: 10)")
    parser.add_argument("--steps", type=int, default=200, help="timed steps of the training (default: 200)")
    parser.add_argument("--frames", type=int, default=NUM_FRAMES, help=f"to render (default: {NUM_FRAMES})")
    given = parser.parse_args(arguments)
    compute = open_compute_device(given.device, "auto")
    rows = [measured(count, given, compute) for count in given.windows]
    print(*table_lines(COLUMNS, rows), device_facts(compute), sep="\n")
    return 0


def measured(count: int, given: argparse.Namespace, compute: ComputeDevice) -> list[str]:
    """A row of the table."""
    run = windowed_run(count, given, compute)
    gaussians = sum(expert.num_gaussians for expert in run.experts)
    gc.collect()
    training = trained_images_a_second(run, given.steps), peak(compute)
    gc.collect()
    rendering = rendered_images_a_second(run, given.frames), peak(compute)
    numbers = [cell for speed, memory in (training, rendering) for cell in (memory, f"{speed:.1f}")]
    return [str(count), f"{gaussians:,}", *numbers]


def windowed_run(count: int, given: argparse.Namespace, compute: ComputeDevice) -> Run:
    """A run of experts of so many windows of random Gaussians."""
    workload = Workload(gaussians=1, width=given.width, height=given.height, seed=0)
    alone = random_run(workload, ensemble_of(given.experts), ComputeDevice(device=torch.device("cpu"), backend="torch"))
    experts = tuple(windowed_expert(name, count, given, number) for number, name in enumerate(given.experts))
    router = Router([expert.name for expert in experts], [expert.num_gaussians for expert in experts])
    vary_weights(router)
    return replace(
        alone,
        experts=tuple(cast(Expert, on_device(expert, compute.device)) for expert in experts),
        router=router.to(compute.device),
        backend=compute.backend,
    )


def windowed_expert(name: str, count: int, given: argparse.Namespace, number: int) -> WindowedExpert:
    """An expert of so many windows, which together show NUM_FRAMES frames."""
    length = -(-(NUM_FRAMES - given.overlap) // count) + given.overlap
    windows = planned_windows(NUM_FRAMES, length=length, overlap=given.overlap)
    models = []
    for seed in range(len(windows)):
        gaussians, _ = trained_like_scene(
            count=given.gaussians, width=given.width, height=given.height, seed=seed + 100 * number
        )
        models.append(EXPERTS[name].random_model(gaussians))
    return WindowedExpert(windows, models).eval().requires_grad_(False)


def trained_images_a_second(run: Run, steps: int) -> float:
    """Trains the router for WARM_UP steps, and then by the clock and with a new record of memory."""
    training = TrainingConfig(iterations=WARM_UP + steps)
    task = RouterTask(run, make_optimiser(run.router, training), RunConfig(training=training))
    begun = 0.0

    def look_on(iteration: int) -> None:
        nonlocal begun
        if iteration == WARM_UP:
            begun = watch_from_now(run.compute)

    if not train(task, Schedule(start=0, last=task.last, saves=(), evaluations=()), quiet=True, each=look_on):
        raise KeyboardInterrupt
    wait(run.compute)
    return steps / (time.perf_counter() - begun)


def rendered_images_a_second(run: Run, frames: int) -> float:
    """Renders frames of the first camera one after the other, without scores."""
    for frame in range(WARM_UP):
        mix_view(run, 0, frame)
    begun = watch_from_now(run.compute)
    for frame in range(frames):
        mix_view(run, 0, frame)
    wait(run.compute)
    return frames / (time.perf_counter() - begun)


def watch_from_now(compute: ComputeDevice) -> float:
    """Begins a new record of the memory, and gives the time."""
    wait(compute)
    if compute.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(compute.device)
    return time.perf_counter()


def peak(compute: ComputeDevice) -> str:
    """The most GPU memory of tensors since `watch_from_now`, MiB."""
    return "" if compute.device.type == "cpu" else f"{torch.cuda.max_memory_allocated(compute.device) / MEBIBYTE:.0f}"


if __name__ == "__main__":
    sys.exit(main())
