"""The time of a command's work, tried out on black images before any frame is decoded."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from common.text.wording import counted, duration
from engine.runs.device import ComputeDevice, wait
from scenes import FrameStore, Scene
from scenes.types import Chunks

REPEATS = 3  # after a step that warms up
TOGETHER = 10  # steps of a GPU that are timed as one: between them the host runs ahead, as it does in the real work
LONG = 2.0  # seconds of the first, after which it is not repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTime:
    """The time that a command's work takes, as a trial of a few steps says."""

    work: str  # "training"
    step: str  # "iteration"
    count: int  # of steps
    seconds_each: float
    note: str = ""  # what makes it longer

    @property
    def seconds(self) -> float:
        """Time of all steps, about."""
        return self.count * self.seconds_each

    @property
    def short(self) -> str:
        """Time of all steps for people."""
        return duration(self.seconds)

    @property
    def line(self) -> str:
        """A line for people, without "time: "."""
        each = f"{self.seconds_each:.1f} s" if self.seconds_each >= 1 else f"{1000 * self.seconds_each:.1f} ms"
        steps = f"{counted(self.count, self.step)} of {each}, by a trial on this machine"
        return f"{self.work} takes about {self.short} ({steps}{self.note})"


class BlackFrames(FrameStore):
    """Black images in the place of frames that are not decoded yet; it knows whether one was read."""

    def __init__(self, scene: Scene) -> None:
        self.were_read = False
        self._cameras = [view.camera for view in scene.views]
        self._chunks = scene.frames.chunks()

    def read(self, view: int, frame: int) -> np.ndarray:
        """Give zeros, uint8 [h, w, 3]."""
        self.were_read = True
        return np.zeros((self._cameras[view].height, self._cameras[view].width, 3), np.uint8)

    def chunks(self) -> Chunks | None:
        """Tell which frames are best read one after the other, as the scene's."""
        return self._chunks


def seconds_a_step(step: Callable[[], object], compute: ComputeDevice, *, at_least: float = 0.0) -> float:
    """Median seconds of a step after one that warms up; those of the first where it takes long.

    at_least: seconds that the trial goes on; then it is the mean of its steps, which other work on the machine delays.
    """
    first = _seconds(step, 1, compute)
    if first > LONG:
        return first
    steps = 1 if compute.device.type == "cpu" else TOGETHER
    measured = [_seconds(step, steps, compute) for _ in range(REPEATS)]
    while sum(measured) < at_least:
        measured.append(_seconds(step, steps, compute))
    return (statistics.fmean(measured) if at_least else statistics.median(measured)) / steps


def _seconds(step: Callable[[], object], count: int, compute: ComputeDevice) -> float:
    """Seconds of several steps, which follow each other without waiting for the device."""
    wait(compute)
    start = time.perf_counter()
    for _ in range(count):
        step()
    wait(compute)
    return time.perf_counter() - start


def must_decode(scene: Scene, views: Sequence[int]) -> bool:
    """True where frames of views have to be decoded first: else progress bars tell the time at once."""
    return scene.frames.on_disk(views).missing_bytes > 0
