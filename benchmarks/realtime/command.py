"""The worth of each idea for faster frames and training steps, alone and with others: `python -m benchmarks.realtime`.

Every row says what was predicted for an H200 before it was measured. A frame's image is compared with that of the
baseline: "same bits", or the PSNR between the two.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import chain
from unittest import mock

import torch
from torch import Tensor

from benchmarks.realtime.ideas import IDEAS, PLAIN, STEP, kept_frames
from benchmarks.realtime.precision import precision_table
from benchmarks.realtime.times import frame_times, step_milliseconds, step_stages, timed_frames
from benchmarks.realtime.upstream_way import times_with_classic_kernels, upstream_frame
from benchmarks.workload import Workload, add_size_flags, random_run, workload_of
from common.text.tables import Column, table_lines
from engine.errors import user_errors
from engine.evaluation.measures.psnr import psnr
from engine.runs.device import device_facts, open_compute_device, peak_memory
from engine.runs.experts.images import image_of
from engine.runs.run import Run, mix_view
from experts.base import Expert
from experts.kept_frames import Dropping, ExpertFrames
from experts.stg.model import STG
from router import ENSEMBLES
from router.playback import Playback

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the times of a frame and of a router's training step with and without each idea, and precision's price."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realtime", description=main.__doc__)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to time")
    add_size_flags(parser)
    parser.add_argument("--frames", type=int, default=12, help="frames of the clip, played four times (default: 12)")
    parser.add_argument("--iterations", type=int, default=40, help="training iterations to time (default: 40)")
    given = parser.parse_args(arguments)
    try:
        compute = open_compute_device(given.device, "auto")
        workload = workload_of(given)
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
        source = kept_frames(run, partial(ExpertFrames, drop=drop))
        player = Playback([expert], view.camera, source=source, camera_number=view.number, backend=run.backend)
        player.prepare((frame, 0.0) for frame in clip)
        times, image = timed_frames(partial(player.image, time=0.0), clip, run.compute)
        yield [f"  kept, graph, {what}", f"{predicted[1]:.1f}", *_text(times), _likeness(image, exact), "", ""]


def _text(times: Sequence[float]) -> list[str]:
    return [f"{statistics.median(times):.2f}", f"({min(times):.2f}-{max(times):.2f})"]


def _likeness(image: Tensor, exact: Tensor) -> str:
    return "same bits" if torch.equal(image, exact) else f"{psnr(image, exact):.1f} dB"
