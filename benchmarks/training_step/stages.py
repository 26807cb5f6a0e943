"""The time of each stage of a training step: the marks of a trace, added up by iteration and stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

from common.marks import BACKWARD, BLEND, DATA, LOSS, RASTERIZE, ROUTING_WEIGHTS, UPDATE, at_a_frame

BACKWARD_RASTERIZE = "backward: rasterize"
REST = "other"
RASTERIZER_NODES = ("BlendBackward", "_BlendBackward")  # autograd's names: of the CUDA back-end, of the C++ one


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A stretch of the host's time."""

    stage: str
    start: int  # nanoseconds
    end: int  # the first nanosecond after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A kernel or a copy that the host asked the GPU for."""

    time: int  # of the host, nanoseconds
    duration: int  # of the kernel on the GPU, nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Time of a stage in one iteration, nanoseconds."""

    host: int
    kernels: int


def step_marks(experts: Iterable[str]) -> tuple[str, ...]:
    """The marks of a router's training step, in the order of their start."""
    return DATA, *map(at_a_frame, experts), ROUTING_WEIGHTS, RASTERIZE, BLEND, LOSS, BACKWARD, UPDATE


def stage_times(marks: Sequence[Mark], launches: Sequence[Launch], *, first: str) -> list[dict[str, Spent]]:
    """Time by stage of every iteration: its marks in the order of their start, then REST, what lies outside of them.

    An iteration begins with its mark `first` and lasts until the next one's, the last one until its last mark ends.
    Where marks overlap, time belongs to the one that began last, so that the stages add up to the iteration. A kernel
    belongs to the stage during which it was launched, from whichever thread.
    """
    starts = sorted(mark.start for mark in marks if mark.stage == first)
    if not starts:
        return []
    bounds = pairwise([*starts, max(mark.end for mark in marks)])
    return [_iteration(marks, launches, start=start, end=end) for start, end in bounds]


def _iteration(marks: Sequence[Mark], launches: Sequence[Launch], *, start: int, end: int) -> dict[str, Spent]:
    inside = sorted((mark for mark in marks if start <= mark.start < end), key=lambda mark: (mark.start, -mark.end))
    host: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    cuts = {time for mark in inside for time in (mark.start, mark.end) if time < end}
    for here, there in pairwise(sorted({start, *cuts, end})):
        host[_stage_at(inside, here)] += there - here
    for launch in launches:
        if start <= launch.time < end:
            kernels[_stage_at(inside, launch.time)] += launch.duration
    stages = dict.fromkeys([*(mark.stage for mark in inside), REST])
    return {stage: Spent(host=host[stage], kernels=kernels[stage]) for stage in stages}


def _stage_at(inside: Sequence[Mark], time: int) -> str:
    """The stage that a moment belongs to; marks in the order of their start."""
    return next((mark.stage for mark in reversed(inside) if mark.start <= time < mark.end), REST)


def marks_of(events: Iterable[FunctionEvent], names: Collection[str]) -> list[Mark]:
    """A trace's marks by these names, and the rasterizer's part of each backward pass, in the order of their start."""
    stages = {**{name: name for name in names}, **dict.fromkeys(RASTERIZER_NODES, BACKWARD_RASTERIZE)}
    marks = [
        Mark(
            stage=stages[event.name],
            start=_nanoseconds(event.time_range.start),
            end=_nanoseconds(event.time_range.end),
        )
        for event in events
        if event.name in stages and event.device_type == DeviceType.CPU  # a GPU's timeline repeats the marks
    ]
    return sorted(marks, key=lambda mark: mark.start)


def launches_of(events: Sequence[FunctionEvent]) -> list[Launch]:
    """A trace's kernels and copies by the time of the CUDA call that asked for them: the two have the same id."""
    calls = {  # the CUDA calls alone: operators count their ids apart
        event.id: event.time_range.start
        for event in events
        if event.device_type == DeviceType.CPU and event.name.startswith("cu")
    }
    return [
        Launch(
            time=_nanoseconds(calls[event.id]),
            duration=_nanoseconds(event.time_range.end - event.time_range.start),
        )
        for event in events
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation and event.id in calls
    ]


def _nanoseconds(microseconds: float) -> int:
    return round(1000 * microseconds)
