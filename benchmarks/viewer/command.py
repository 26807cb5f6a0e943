"""The pictures a second that the live viewer sends, and where their time goes: `python -m benchmarks.viewer`.

The server is that of `moegs.py view`. A browser without a screen plays a clip from another process of this machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.realtime.ideas import CPU_MEMORY
from benchmarks.workload import Workload, add_size_flags, random_run, workload_of
from common.maths.tensors import to_uint8
from common.text.tables import Column, table_lines
from engine.errors import user_errors
from engine.runs.device import ComputeDevice, device_facts, open_compute_device, peak_memory, spare_memory, wait
from engine.runs.experts.kept_frames import SHARE
from engine.runs.run import Run, mix_view
from engine.settings.results.view import check_viser
from engine.training.interruption import Interruption
from experts.base import Expert
from experts.kept_frames import COMPUTED, ExpertFrames, FrameGaussians
from router import ENSEMBLES

RATE = Fraction(60)  # frames per second of the clip, which is played four times as fast
UNHURRIED = 10.0  # seconds that a picture may take: all have the full size
PORT = 8170
COLUMNS = (
    Column(heading="a picture, ms", gap=0, width=34, left=True),
    Column(heading="computed anew", gap=2),
    Column(heading="(5-95 %)", gap=2, width=13, left=True),
    Column(heading="kept", gap=2),
    Column(heading="(5-95 %)", gap=2, width=13, left=True),
)
STAGES = ("deformation", "rendering, gates, blend", "8 bits, copy to the host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A clip as a browser was sent it."""

    encoding: list[float]  # ms of each picture's JPEG, beside the rendering of the next
    gaps: list[float]  # ms between two pictures
    kilobytes: float  # of a picture, mean

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return 1000 * len(self.gaps) / sum(self.gaps)


class _Given(ExpertFrames):
    """Gives the Gaussians of one frame that were computed before."""

    def __init__(self, given: dict[str, FrameGaussians]) -> None:
        super().__init__()
        self._given = given

    def of(self, expert: Expert, frame: float, *, camera: int | None = None) -> FrameGaussians:
        return self._given[expert.name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the time of each stage of a picture, and the pictures a second that a browser is sent."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer", description=main.__doc__)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="device to time")
    add_size_flags(parser, width=1280, height=720)
    parser.add_argument("--frames", type=int, default=60, help="frames of the clip (default: 60)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time of playing (default: 10)")
    given = parser.parse_args(arguments)
    try:
        check_viser()
        compute = open_compute_device(given.device, "auto")
        workload = workload_of(given)
        run = viewed_run(workload, given.frames, compute)
        print(f"E4, {given.gaussians} Gaussians each, {given.width}x{given.height} px; {device_facts(compute)}")
        print("\n".join(report(run, seconds=given.seconds)))
        if (memory := peak_memory(run.device)) is not None:
            print(f"peak GPU memory of tensors: {memory} MiB")
    except user_errors() as error:
        parser.error(str(error))
    return 0


def viewed_run(workload: Workload, frames: int, compute: ComputeDevice) -> Run:
    """A random run of E4 whose first camera is held out, so that a browser begins there."""
    run = random_run(workload, ENSEMBLES["E4"], compute)
    views = range(len(run.scene.views))
    scene = replace(run.scene, test=(0,), train=tuple(views[1:]), num_frames=frames, frame_rate=RATE)
    return replace(run, scene=scene)


def report(run: Run, *, seconds: float) -> list[str]:
    """The table of stages, and a line on what a browser was sent, with frames computed anew and with frames kept."""
    spare = spare_memory(run.device)
    most = CPU_MEMORY if spare is None else int(SHARE * spare)
    sources = {"computed anew": COMPUTED, "kept": ExpertFrames(most=most, shares=len(run.experts))}
    columns: list[list[str]] = []  # a row each, two of a source
    lines = []
    for name, source in sources.items():
        here = replace(run, frames=source)
        stages, played = stage_times(here), play(here, seconds=seconds)
        measured = [*(stages[stage] for stage in STAGES), played.encoding, played.gaps]
        columns += [list(column) for column in zip(*map(_text, measured), strict=True)]
        lines.append(
            f"frames {name}: {played.rate:.1f} pictures a second at the browser, {played.kilobytes:.0f} kB each"
        )
    names = (*STAGES, "JPEG, beside the next picture", "from picture to picture")
    rows = [list(row) for row in zip(names, *columns, strict=True)]
    return [*table_lines(COLUMNS, rows), *lines]


def stage_times(run: Run) -> dict[str, list[float]]:
    """Milliseconds of each stage of STAGES at each frame of the clip, after a round to warm up."""
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for frame in (*range(run.scene.num_frames), *range(run.scene.num_frames)):
        start = time.perf_counter()
        given = {expert.name: run.frames.of(expert, frame) for expert in run.experts}
        wait(run.compute)
        deformed = time.perf_counter()
        image = mix_view(replace(run, frames=_Given(given)), 0, frame).image
        wait(run.compute)
        rendered = time.perf_counter()
        to_uint8(image)
        spent = (deformed - start, rendered - deformed, time.perf_counter() - rendered)
        for stage, each in zip(STAGES, spent, strict=True):
            times[stage].append(1000 * each)
    return {stage: each[run.scene.num_frames :] for stage, each in times.items()}


def play(run: Run, *, seconds: float) -> Played:
    """Lets a browser without a screen play the clip in a process of its own."""
    from engine.viewer import stream  # here: viser is optional
    from engine.viewer.server import Viewer

    encoding: list[float] = []
    with mock.patch.object(stream, "send_picture", _clocked(stream.send_picture, encoding)):
        viewer, stop = Viewer(run, port=PORT, budget=UNHURRIED), Interruption()
        thread = threading.Thread(target=viewer.serve, args=(stop,))
        thread.start()
        try:
            camera = run.scene.views[0].camera
            size = (str(seconds), str(camera.width), str(camera.height))
            browser = [sys.executable, "-m", "benchmarks.viewer.client", str(viewer.port), *size]
            said = json.loads(subprocess.run(browser, stdout=subprocess.PIPE, check=True).stdout)
        finally:
            stop.requested = True
            thread.join()
            viewer.close()
    gaps = (1000 * np.diff(said["times"])).tolist()
    return Played(encoding=encoding, gaps=gaps, kilobytes=said["bytes"] / 1000)


def _clocked(work: Callable[..., None], times: list[float]) -> Callable[..., None]:
    """The same work, its milliseconds added to a list."""

    def clocked(*given: Any, **named: Any) -> None:
        start = time.perf_counter()
        work(*given, **named)
        times.append(1000 * (time.perf_counter() - start))

    return clocked


def _text(times: Sequence[float]) -> tuple[str, str]:
    """The median, and the 5th and the 95th percentile."""
    low, high = np.percentile(times, (5, 95))
    return f"{statistics.median(times):.2f}", f"({low:.2f}-{high:.2f})"
