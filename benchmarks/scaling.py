"""Images a second on 1, 2, 4 ... ranks, on random Gaussians: `python -m benchmarks.scaling`.

It starts itself under torchrun, once for each number of ranks. Every rank has as many CPU cores for itself, whatever
their number, so that the host grows with the ranks as on a larger machine. Speeds are those of the steady state: what a
job takes once, at its start and end, is not in them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks.workload import Workload, add_size_flags, random_run, workload_of
from common import ranks
from common.gradients import backward
from common.text.tables import Column, table_lines
from common.text.wording import counted
from engine.errors import ConfigError
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.runs.device import ComputeDevice, device_facts, open_compute_device, wait
from engine.runs.run import Run
from engine.settings.parsing.command_line import exit_code
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.expert.choice import expert_of_key
from engine.training.expert.scene_views import SceneViews
from engine.training.loop import Schedule, train
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from experts import begin_training
from experts.training.recipes.presets import GENERIC, Planes
from experts.training.recipes.recipe import recipe_for_ranks
from experts.training.samplers import Sample
from experts.training.start import StartPoints, TrainingStart
from router import ENSEMBLES

WARM_UP = 10  # steps, and frames of each rank
ROUTER, RENDERING = "router", "rendering"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The sizes of what is measured."""

    workload: Workload
    experts: Sequence[str]  # keys
    steps: int  # of each training
    frames: int  # to render, of each rank


class CountedViews(SceneViews):
    """Counts the images that a rank trains with."""

    taken = 0

    def image(self, sample: Sample) -> Tensor:
        """As SceneViews."""
        self.taken += 1
        return super().image(sample)


def images_a_second(job: Job, compute: ComputeDevice) -> dict[str, float]:
    """Images a second over all ranks by part of the work, on this job's ranks; each is told as soon as it is known."""
    run = random_run(job.workload, ENSEMBLES["E4"], compute)
    parts: dict[str, Callable[[], float]] = {
        ROUTER: partial(router_speed, job, run),
        RENDERING: partial(rendering_speed, job, run),
        **{key: partial(expert_speed, job, key, run, compute) for key in job.experts},
    }
    speeds = {}
    for part, measure in parts.items():
        speeds[part] = measure()
        if ranks.is_first():
            print(f"  {part}: {speeds[part]:.2f} images/s", flush=True)
    return speeds


def router_speed(job: Job, run: Run) -> float:
    """Trains the router for WARM_UP steps, and then by the clock."""
    images = ranks.count()
    training = TrainingConfig(iterations=(WARM_UP + job.steps) * images)
    task = RouterTask(run, make_optimiser(run.router, training), RunConfig(training=training))
    clock: list[float] = []

    def look_on(iteration: int) -> None:
        if iteration in (WARM_UP * images, task.last):
            clock.append(together(run.compute))

    schedule = Schedule(start=0, last=task.last, saves=(), evaluations=(), step=images)
    if not train(task, schedule, quiet=True, each=look_on):
        raise KeyboardInterrupt
    return job.steps * images / (clock[1] - clock[0])


def expert_speed(job: Job, key: str, run: Run, compute: ComputeDevice) -> float:
    """Trains an expert of as many Gaussians, by its generic preset, for WARM_UP steps, and then by the clock."""
    spec = expert_of_key(key)
    preset = spec.training.presets[GENERIC]
    recipe = recipe_for_ranks(preset.recipe, ranks.count()) if ranks.count() > 1 else preset.recipe
    points = run.experts[run.ensemble.experts.index("STG")].at(0.0).means
    views = CountedViews(run.scene, device=compute.device)
    start = TrainingStart(
        points=StartPoints(positions=points, colours=points.sigmoid()),
        views=views,
        extent=run.scene.rig_radius,
        planes=Planes(near=0.01, far=100.0) if spec.has_planes else None,
        network=preset.network,
    )
    trainer = begin_training(spec, recipe, start)
    trainer.backend, trainer.lpips = compute.backend, lambda image, target: (image - target).abs().mean()
    begun = 0.0
    for iteration in range(1, 1 + WARM_UP + job.steps):
        for loss in trainer.losses(iteration):
            backward(loss)
        trainer.update(iteration)
        if iteration == WARM_UP:
            begun, views.taken = together(compute), 0
    spent = together(compute) - begun
    views.close()
    return sum(ranks.gathered(views.taken)) / spent


def rendering_speed(job: Job, run: Run) -> float:
    """Renders, scores and encodes frames: WARM_UP of them, a few by the clock, and all of them by the clock.

    The speed is that of the frames by which the two differ. So weights of networks, files of scores and the frame
    before a rank's block do not count, and the joining of the videos counts by its part that grows with the frames.
    """
    few, all_frames = WARM_UP * ranks.count(), (WARM_UP + job.frames) * ranks.count()
    rendering_seconds(run, few)
    return (all_frames - few) / (rendering_seconds(run, all_frames) - rendering_seconds(run, few))


def rendering_seconds(run: Run, frames: int) -> float:
    """Seconds of the rendering of so many frames over all ranks, of as many cameras as that needs."""
    most = run.scene.num_frames
    views = range(-(-frames // most))
    options = EvaluationOptions(progress=False, constant_frames=0, frames=range(-(-frames // len(views))))
    with tempfile.TemporaryDirectory() as folder:
        begun = together(run.compute)
        evaluate_mixture(run, views=views, folder=ranks.from_first(Path(folder)), options=options)
        return together(run.compute) - begun


def together(compute: ComputeDevice) -> float:
    """The time when all ranks have done what they were told."""
    wait(compute)
    ranks.wait_for_all()
    return time.perf_counter()


def table(speeds: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Images a second by number of ranks and part of the work, with the efficiency beside them.

    The efficiency is the speed over that of the fewest ranks, for each rank.
    """
    fewest = min(speeds)
    parts = list(speeds[fewest])
    columns = [Column(heading="ranks", gap=0, width=5)]
    for part in parts:
        columns += [Column(heading=f"{part}, images/s", gap=2), Column(heading="efficiency", gap=2)]
    rows = []
    for count, own in speeds.items():
        row = [str(count)]
        for part in parts:
            row += [f"{own[part]:.2f}", f"{own[part] / speeds[fewest][part] / count * fewest:.2f}"]
        rows.append(row)
    return table_lines(columns, rows)


def measured(count: int, arguments: Sequence[str], *, threads: int) -> dict[str, float]:
    """Starts this benchmark on so many ranks: its speeds; ConfigError where it fails.

    threads: of the CPU for each rank, which keeps to as many cores.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "speeds.json"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        words = [*torchrun, "-m", "benchmarks.scaling", *arguments, "--out", str(out)]
        ended = subprocess.run(words, check=False, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        if ended.returncode != 0 or not out.is_file():
            raise ConfigError(f"{counted(count, 'rank')}: exit code {ended.returncode}, see above")
        speeds: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
        return speeds


def main(arguments: Sequence[str] | None = None, *, measure: Callable[..., dict[str, float]] = measured) -> int:
    """Print images a second and efficiency of the router's training, rendering with scores and videos, and experts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=main.__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4], help="numbers of ranks (default: 1 2 4)")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to time")
    add_size_flags(parser)
    parser.add_argument("--experts", nargs="*", default=["ex4dgs", "freetime"], help="experts to train")
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each training (default: 100)")
    parser.add_argument("--frames", type=int, default=120, help="timed frames of each rank (default: 120)")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)  # of a rank: the file of its speeds
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = parser.parse_args(words)
    if given.out is not None:
        keep_to_own_cores(os.environ)
    with exit_code(words) as code:
        if given.out is None:
            threads = max(1, len(os.sched_getaffinity(0)) // max(given.ranks))
            print("\n".join(table({count: measure(count, words, threads=threads) for count in sorted(given.ranks)})))
        else:
            code.value = _measure_here(given)
    return code.value


def keep_to_own_cores(environment: Mapping[str, str]) -> None:
    """Lets this rank, and what it starts from now on, run on as many CPU cores as it has threads, beside the others'.

    Else the encoders of a single rank use the cores of all, and encoders limit what several ranks can do.
    """
    cores, threads = sorted(os.sched_getaffinity(0)), int(environment.get("OMP_NUM_THREADS", "1"))
    first = int(environment["LOCAL_RANK"]) * threads % len(cores)
    os.sched_setaffinity(0, cores[first : first + threads])


def _measure_here(given: argparse.Namespace) -> int:
    compute = open_compute_device(given.device, "auto")
    workload = workload_of(given)
    job = Job(workload=workload, experts=given.experts, steps=given.steps, frames=given.frames)
    if ranks.is_first():
        size = f"{given.gaussians} Gaussians each, {given.width}x{given.height} px"
        cores = counted(len(os.sched_getaffinity(0)), "CPU core")
        print(f"{counted(ranks.count(), 'rank')}: E4, {size}; {device_facts(compute)}; {cores} a rank", flush=True)
    speeds = images_a_second(job, compute)
    if ranks.is_first():
        given.out.write_text(json.dumps(speeds), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
