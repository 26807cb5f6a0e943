"""Times of repeated work: CUDA events on a GPU, the processor's clock elsewhere."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

WARM_UP_ROUNDS = 2  # over all input sets


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median and range, milliseconds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The same work timed twice."""

    queued: Spread  # one repetition after the other: what a training loop sees
    single: Spread  # the device idle before each: what one image costs, the host's part included


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One repetition on input set `index`: a forward pass, and a backward pass from its results."""

    forward: Callable[[int], Any]
    backward: Callable[[int, Any], None] | None = None


def measure(work: Work, device: torch.device, *, sets: int, repeats: int) -> tuple[Timing, Timing]:
    """Timing of the whole work and of its backward pass alone, over `repeats` runs that rotate among the input sets.

    Rotating keeps a GPU's cache from holding the input of the next run.
    """
    for turn in range(WARM_UP_ROUNDS * sets):
        _pass(work, turn % sets, device)
    spreads: list[tuple[Spread, Spread]] = []
    for alone in (False, True):
        passes = []
        synchronise(device)
        for turn in range(repeats):
            if alone:
                synchronise(device)
            passes.append(_pass(work, turn % sets, device))
        synchronise(device)
        whole = [milliseconds(start, end) for start, _, end in passes]
        backward = [milliseconds(middle, end) for _, middle, end in passes]
        spreads.append((spread(whole), spread(backward)))
    (queued, queued_backward), (single, single_backward) = spreads
    return Timing(queued=queued, single=single), Timing(queued=queued_backward, single=single_backward)


def spread(times: Sequence[float]) -> Spread:
    """Median and range of some times."""
    return Spread(median=statistics.median(times), least=min(times), most=max(times))


def synchronise(device: torch.device) -> None:
    """Wait for the GPU; nothing to wait for elsewhere."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timestamp(device: torch.device) -> Any:
    """A point in the device's time, for `milliseconds`."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def milliseconds(start: Any, end: Any) -> float:
    """Time between two timestamps; on a GPU, synchronise first."""
    return 1000 * (end - start) if isinstance(start, float) else start.elapsed_time(end)


def _pass(work: Work, index: int, device: torch.device) -> tuple[Any, Any, Any]:
    start = timestamp(device)
    outputs = work.forward(index)
    middle = timestamp(device)
    if work.backward is not None:
        work.backward(index, outputs)
    return start, middle, timestamp(device)
