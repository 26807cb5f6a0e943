"""Times of a run's frames and training steps, as an idea makes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

from torch import Tensor

from benchmarks.realtime.ideas import STEP, Idea, choices, source_of
from benchmarks.training_step.command import kernel_table, longest_kernels, read_stages, stage_table, trace_training
from engine.runs.device import ComputeDevice, wait
from engine.runs.run import Run, mix_view
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.loop import Schedule, train
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from router.playback import Playback

WARM_UP = 3  # frames or iterations


def frame_times(run: Run, idea: Idea) -> tuple[list[float], Tensor]:
    """Milliseconds of each frame of a clip that is played again and again, and the image of its first frame."""
    source, clip = source_of(run, idea), range(run.scene.num_frames)
    with choices(idea):
        if idea.graph:
            view = run.scene.views[0]
            player = Playback(
                run.experts,
                view.camera,
                source=source,
                router=run.router,
                camera_number=view.number,
                backend=run.backend,
            )
            player.prepare((frame, run.time(frame)) for frame in clip)
            return timed_frames(lambda frame: player.image(frame, run.time(frame)), clip, run.compute)
        here = replace(run, frames=source)
        return timed_frames(lambda frame: mix_view(here, 0, frame).image, clip, run.compute)


def timed_frames(draw: Callable[[int], Tensor], clip: range, compute: ComputeDevice) -> tuple[list[float], Tensor]:
    """The clip once to warm up, then three times by the clock; each frame is waited for."""
    for frame in clip:
        draw(frame)
    image = draw(0).clone()
    wait(compute)
    times = []
    for frame in (*clip, *clip, *clip):
        start = time.perf_counter()
        draw(frame)
        wait(compute)
        times.append(1000 * (time.perf_counter() - start))
    return times, image


def step_milliseconds(run: Run, idea: Idea, iterations: int) -> float:
    """Mean time of a training iteration, once every camera has shown every frame."""
    before = max(len(run.scene.views) * run.scene.num_frames, WARM_UP)
    training = TrainingConfig(iterations=before + iterations, seed=0)
    clock: list[float] = []

    def look_on(iteration: int) -> None:
        if iteration in (before, before + iterations):
            wait(run.compute)
            clock.append(time.perf_counter())

    with choices(idea):
        run = replace(run, frames=source_of(run, idea), router=deepcopy(run.router))  # the others' starts the same
        task = RouterTask(run, make_optimiser(run.router, training), RunConfig(training=training))
        if not train(
            task, Schedule(start=0, last=training.iterations, saves=(), evaluations=()), quiet=True, each=look_on
        ):
            raise KeyboardInterrupt
    return 1000 * (clock[1] - clock[0]) / iterations


def step_stages(run: Run, iterations: int) -> str:
    """Tables of a step's stages and longest kernels, once all frames were shown."""
    with choices(STEP):
        run = replace(run, frames=source_of(run, STEP), router=deepcopy(run.router))
        for frame in range(run.scene.num_frames):
            mix_view(run, 0, frame)
        trace, milliseconds = trace_training(run, iterations=iterations, seed=0)
    on_gpu = run.device.type == "cuda"
    kernels = kernel_table(longest_kernels(trace, iterations, on_gpu=on_gpu), total=milliseconds, on_gpu=on_gpu)
    return f"{stage_table(read_stages(trace, run), on_gpu=on_gpu)}\n{kernels}"
