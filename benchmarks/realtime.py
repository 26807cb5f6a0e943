"""The worth of each idea for faster frames and training steps, alone and with others: `python -m benchmarks.realtime`.

Every row says what was predicted for an H200 before it was measured. A frame's image is compared with that of the
baseline: "same bits", or the PSNR between the two.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.precision import precision_table
from benchmarks.training_step import kernel_table, longest_kernels, read_stages, stage_table, trace_training
from benchmarks.upstream_way import times_with_classic_kernels, upstream_frame
from benchmarks.workload import Workload, random_run
from common.text.tables import Column, table_lines
from engine.errors import user_errors
from engine.evaluation.measures.psnr import psnr
from engine.runs.device import ComputeDevice, device_facts, open_compute_device, peak_memory, spare_memory, wait
from engine.runs.experts.images import image_of
from engine.runs.experts.kept_frames import SHARE
from engine.runs.run import Run, mix_view
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.loop import Schedule, train
from engine.training.router.schedule import make_optimiser
from engine.training.router.task import RouterTask
from experts.base import Expert, Precision
from experts.kept_frames import Dropping, ExpertFrames, FrameGaussians
from experts.stg.model import STG
from router import ENSEMBLES
from router.playback import Playback

WARM_UP = 3  # frames or iterations
CPU_MEMORY = 2**28  # bytes for kept frames where a GPU does not say how much is free
PLAIN: dict[str, tuple[str, Any]] = {  # choices of fused kernels, each with what takes the readable version instead
    "gates": ("router.router.has_gates_kernel", lambda *_: False),
    "loss": ("losses.photometric_loss.has_loss_kernel", lambda *_: False),
    "radam": ("engine.training.router.schedule.FusedRAdam", torch.optim.RAdam),
    "motion": ("experts.stg.model.has_motion_kernel", lambda *_: False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """A row of the table; frame and step: milliseconds predicted for E4 on an H200, None where it has no part."""

    name: str
    frame: float | None = None
    step: float | None = None
    kept: bool = False  # frames of experts that all cameras share are kept
    kept_by_camera: bool = False  # E-D3DGS's, too
    dropped: bool = False  # rows without opacity, at every frame
    precision: Precision = "float32"
    fused: tuple[str, ...] = ()  # of PLAIN
    graph: bool = False


KERNELS = Idea(name="these three kernels", frame=8.3, step=8.3, fused=("gates", "loss", "radam"))
EXACT = replace(
    KERNELS, name="exact ones together", frame=2.0, step=4.5, kept=True, kept_by_camera=True, fused=tuple(PLAIN)
)
STEP = replace(EXACT, name="exact ones, not E-D3DGS's frames", frame=6.0, step=6.5, kept_by_camera=False)
IDEAS = (
    Idea(name="baseline", frame=9.1, step=11.4),
    Idea(name="frames kept, not E-D3DGS's", frame=6.5, step=9.5, kept=True),
    Idea(name="all frames kept", frame=3.0, step=7.5, kept=True, kept_by_camera=True),
    Idea(name="rows without opacity dropped", frame=9.4, dropped=True),
    Idea(name="networks in TF32", frame=7.5, step=9.0, precision="tf32"),
    Idea(name="networks in float16", frame=7.0, step=8.5, precision="float16"),
    Idea(name="gates and blend as one kernel", frame=8.3, step=9.8, fused=("gates",)),
    Idea(name="loss as one kernel", step=10.2, fused=("loss",)),
    Idea(name="RAdam by a fused kernel", step=11.0, fused=("radam",)),
    Idea(name="STG's motion as one kernel", frame=7.5, step=10.9, fused=("motion",)),
    KERNELS,
    STEP,
    EXACT,
    replace(EXACT, name="and a CUDA graph", frame=1.4, step=None, graph=True),
    replace(KERNELS, name="kernels, kept, float16", frame=4.5, step=5.5, kept=True, precision="float16"),
)
UPSTREAM_OURS, UPSTREAM_CLASSIC = 13.0, 16.0  # milliseconds of a frame, predicted for an H200
SHORT = 0.05  # of the clip: width of a temporal window
COLUMNS = (
    Column(heading="idea", gap=0, width=34, left=True),
    Column(heading="frame: predicted", gap=2),
    Column(heading="ms", gap=2),
    Column(heading="(min-max)", gap=2, width=13, left=True),
    Column(heading="image", gap=2, width=10, left=True),
    Column(heading="step: predicted", gap=2),
    Column(heading="ms", gap=2),
)


class _SharedFrames(ExpertFrames):
    """Keeps frames of the experts that are the same for all cameras: more cameras and frames than memory holds."""

    def of(self, expert: Expert, frame: float, *, camera: int | None = None) -> FrameGaussians:
        if getattr(expert, "same_for_all_cameras", False):
            return super().of(expert, frame, camera=camera)
        return self._computed(expert, frame, camera, drop=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the times of a frame and of a router's training step with and without each idea, and precision's price."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realtime", description=main.__doc__)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to time")
    parser.add_argument("--gaussians", type=int, default=200_000, help="Gaussians of each expert (default: 200000)")
    parser.add_argument("--width", type=int, default=1352, help="width of the images, in px (default: 1352)")
    parser.add_argument("--height", type=int, default=1014, help="height of the images, in px (default: 1014)")
    parser.add_argument("--frames", type=int, default=12, help="frames of the clip, played four times (default: 12)")
    parser.add_argument("--iterations", type=int, default=40, help="training iterations to time (default: 40)")
    given = parser.parse_args(arguments)
    try:
        compute = open_compute_device(given.device, "auto")
        workload = Workload(gaussians=given.gaussians, width=given.width, height=given.height, seed=0)
        run = random_run(workload, ENSEMBLES["E4"], compute)
        run = replace(run, scene=replace(run.scene, num_frames=given.frames))
        print(f"E4, {given.gaussians} Gaussians each, {given.width}x{given.height} px; {device_facts(compute)}")
        rows: list[list[str]] = []
        try:
            for row in chain(idea_rows(run, given.iterations), single_rows(run), upstream_rows(run, workload)):
                rows.append(row)
        finally:  # what was measured before an error, too
            print("\n".join(table_lines(COLUMNS, rows)), flush=True)
        print(f"peak GPU memory of tensors: {peak_memory(run.device)} MiB")
        print("\n".join(precision_table(compute)))
        print(f"a step with {STEP.name}, by stage:\n{step_stages(run, given.iterations)}")
    except user_errors() as error:
        parser.error(str(error))
    return 0


def idea_rows(run: Run, iterations: int) -> Iterator[list[str]]:
    """A row of each idea: the frame's times and image, then the step's time."""
    exact: Tensor | None = None
    for idea in IDEAS:
        row = [idea.name, "", "", "", ""]
        if idea.frame is not None:
            times, image = frame_times(run, idea)
            exact = image if exact is None else exact
            row = [idea.name, f"{idea.frame:.1f}", *_text(times), _likeness(image, exact)]
        step = ["", ""]
        if idea.step is not None:
            step = [f"{idea.step:.1f}", f"{step_milliseconds(run, idea, iterations):.2f}"]
        yield [*row, *step]


def upstream_rows(run: Run, workload: Workload) -> Iterator[list[str]]:
    """Rows of the published code's way, with our kernels and, on a GPU, with kernels like the original ones."""
    clip = range(run.scene.num_frames)
    times, image = timed_frames(lambda frame: upstream_frame(run, frame), clip, run.compute)
    exact = mix_view(replace(run, frames=ExpertFrames()), 0, 0).image
    yield ["upstream's way, our kernels", f"{UPSTREAM_OURS:.1f}", *_text(times), _likeness(image, exact), "", ""]
    if run.device.type == "cuda":
        classic = times_with_classic_kernels(workload, len(clip))
        yield ["upstream's way", f"{UPSTREAM_CLASSIC:.1f}", *_text(classic), "", "", ""]


def frame_times(run: Run, idea: Idea) -> tuple[list[float], Tensor]:
    """Milliseconds of each frame of a clip that is played again and again, and the image of its first frame."""
    source, clip = _source(run, idea), range(run.scene.num_frames)
    with _choices(idea):
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

    with _choices(idea):
        run = replace(run, frames=_source(run, idea), router=deepcopy(run.router))  # the others' starts the same
        task = RouterTask(run, make_optimiser(run.router, training), RunConfig(training=training))
        if not train(
            task, Schedule(start=0, last=training.iterations, saves=(), evaluations=()), quiet=True, each=look_on
        ):
            raise KeyboardInterrupt
    return 1000 * (clock[1] - clock[0]) / iterations


def step_stages(run: Run, iterations: int) -> str:
    """Tables of a step's stages and longest kernels, once all frames were shown."""
    with _choices(STEP):
        run = replace(run, frames=_source(run, STEP), router=deepcopy(run.router))
        for frame in range(run.scene.num_frames):
            mix_view(run, 0, frame)
        trace, milliseconds = trace_training(run, iterations=iterations, seed=0)
    on_gpu = run.device.type == "cuda"
    kernels = kernel_table(longest_kernels(trace, iterations, on_gpu=on_gpu), total=milliseconds, on_gpu=on_gpu)
    return f"{stage_table(read_stages(trace, run), on_gpu=on_gpu)}\n{kernels}"


def single_rows(run: Run) -> Iterator[list[str]]:
    """Rows of models that a mixture is distilled to: with networks, without, and one of short-lived Gaussians."""
    by_name = {expert.name: expert for expert in run.experts}
    yield from _rows_of(run, by_name["E-D3DGS"], "E-D3DGS", predicted=(4.0, 0.8))
    with mock.patch(*PLAIN["motion"]):
        times, exact = _alone(run, by_name["STG"])
    yield ["STG alone, motion by PyTorch", "1.0", *_text(times), _likeness(exact, exact), "", ""]
    yield from _rows_of(run, by_name["STG"], "STG", predicted=(0.6, 0.8), exact=exact)
    short = deepcopy(by_name["STG"])
    assert isinstance(short, STG)
    for segment in short.parts:
        segment.trbf_log_widths.fill_(math.log(SHORT))
    yield from _rows_of(run, short, "STG, short windows", predicted=(1.2, 0.6))


def _alone(run: Run, expert: Expert) -> tuple[list[float], Tensor]:
    """Milliseconds of each frame of one expert that is computed anew, and the first frame's image."""
    view, clip = run.scene.views[0], range(run.scene.num_frames)

    def draw(frame: int) -> Tensor:
        return image_of(expert, view.camera, frame, compute=run.compute, camera_number=view.number)

    return timed_frames(draw, clip, run.compute)


def _rows_of(
    run: Run, expert: Expert, name: str, *, predicted: tuple[float, float], exact: Tensor | None = None
) -> Iterator[list[str]]:
    """Rows of one expert: computed anew, then as a graph of kept frames, or of their shown rows.

    exact: an image to compare with, else the one that is computed anew.
    """
    view, clip = run.scene.views[0], range(run.scene.num_frames)
    times, image = _alone(run, expert)
    exact = image if exact is None else exact
    yield [f"{name} alone", f"{predicted[0]:.1f}", *_text(times), _likeness(image, exact), "", ""]
    choices: dict[str, Dropping] = {"all rows": "never", "shown rows": "kept"}
    for what, drop in choices.items():
        source = _kept(run, partial(ExpertFrames, drop=drop))
        player = Playback([expert], view.camera, source=source, camera_number=view.number, backend=run.backend)
        player.prepare((frame, 0.0) for frame in clip)
        times, image = timed_frames(partial(player.image, time=0.0), clip, run.compute)
        yield [f"  kept, graph, {what}", f"{predicted[1]:.1f}", *_text(times), _likeness(image, exact), "", ""]


def _source(run: Run, idea: Idea) -> ExpertFrames:
    if idea.kept:
        return _kept(run, ExpertFrames if idea.kept_by_camera else _SharedFrames, precision=idea.precision)
    return ExpertFrames(drop="always" if idea.dropped else "never", precision=idea.precision)


def _kept(run: Run, kind: Callable[..., ExpertFrames], *, precision: Precision = "float32") -> ExpertFrames:
    spare = spare_memory(run.device)
    most = CPU_MEMORY if spare is None else int(SHARE * spare)
    return kind(most=most, shares=len(run.experts), precision=precision)


@contextmanager
def _choices(idea: Idea) -> Iterator[None]:
    """Takes the readable versions of the kernels that an idea is without."""
    with ExitStack() as patches:
        for name, (choice, plain) in PLAIN.items():
            if name not in idea.fused:
                patches.enter_context(mock.patch(choice, plain))
        yield


def _text(times: Sequence[float]) -> list[str]:
    return [f"{statistics.median(times):.2f}", f"({min(times):.2f}-{max(times):.2f})"]


def _likeness(image: Tensor, exact: Tensor) -> str:
    return "same bits" if torch.equal(image, exact) else f"{psnr(image, exact):.1f} dB"


if __name__ == "__main__":
    sys.exit(main())
