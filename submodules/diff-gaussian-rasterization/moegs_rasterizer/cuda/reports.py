"""Reports of the GPU on calls that have returned: the number of instances, and the first bad value of each layer.

The last counting kernel of a call writes them into pinned host memory, and the host does not wait. The next call looks
for reports that have come. The backward pass needs its own: it launches its kernels as if there were room, and waits
for the report then. A call captured in a CUDA graph reports with each replay to a row of its own.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..types import RasterizerError
from .captured import CapturedCall
from .words import MOST_LAYERS, NOT_FINITE, VIEW, WORDS, error_of

SLOTS = 256  # calls whose reports may be on their way at once
MOST_CAPTURES = 256  # calls in CUDA graphs whose reports are kept apart
ROWS = SLOTS + MOST_CAPTURES
MOST_INSTANCES = 2**31 - 1
SLACK = 1.1  # of memory for instances over those of the calls alike
FORGETTING = 0.99  # of the most instances known, with each call
FIRST_GUESS = 8  # instances a Gaussian
LEAST_CAPACITY = 4096
LOOKS = 32  # at a report's words before the driver is asked, which takes longer
AWAKE = 200e-6  # seconds that the host only looks, as most reports come by then
SLEPT = 0.125  # of the time waited so far, from then on: other threads get the processor
LONGEST_SLEEP = 1e-3  # seconds
MOST_SIZES = 256  # of calls remembered


@dataclass(slots=True, kw_only=True, eq=False)
class Report:
    """One call's report, filled in once it has come."""

    slot: int
    sequence: int
    size: tuple[Any, ...]  # calls of one size have about as many instances
    first_layer: int
    stream: torch.cuda.Stream  # that the call's kernels run on
    instances: int | None = None
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Mailbox:
    """Reports of the latest calls on one GPU, and the instances known from them."""

    words: Tensor = field(default_factory=lambda: torch.zeros(ROWS, WORDS, dtype=torch.int64, pin_memory=True))
    views: Tensor = field(
        default_factory=lambda: torch.zeros(MOST_CAPTURES, MOST_LAYERS, VIEW, dtype=torch.float64, pin_memory=True)
    )
    gradients: Tensor = field(  # for each of NOT_FINITE 1 + the layer of a gradient that is not finite; 0: none
        default_factory=lambda: torch.zeros(len(NOT_FINITE), dtype=torch.int64, pin_memory=True)
    )
    numbers: Any = field(init=False)  # the same memory: reading it as a tensor would take microseconds a number
    gradient_numbers: Any = field(init=False)
    pending: list[Report] = field(default_factory=list)
    known: dict[tuple[Any, ...], int] = field(default_factory=dict)  # instances of calls of each size
    watched: list[CapturedCall] = field(default_factory=list)
    captures: int = 0
    sequence: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)  # backward passes run on a thread of their own

    def __post_init__(self) -> None:
        self.numbers = (ctypes.c_int64 * (ROWS * WORDS)).from_address(self.words.data_ptr())
        self.gradient_numbers = (ctypes.c_int64 * len(NOT_FINITE)).from_address(self.gradients.data_ptr())

    def capacity(self, size: tuple[Any, ...], rows: int) -> int:
        """Instances that a call of this size gets memory for."""
        instances = self.known.get(size)
        guess = FIRST_GUESS * rows if instances is None else int(SLACK * instances)
        return min(max(guess, LEAST_CAPACITY), MOST_INSTANCES)

    def open(self) -> tuple[int, int]:
        """The next call's sequence number, and the address for its report.

        Raises RasterizerError for a bad earlier call.
        """
        with self.lock:
            self.read()
            while len(self.pending) >= SLOTS:
                self._wait(self.pending[0])
                self.read()
            self.sequence += 1
            return self.sequence, self._address(self.sequence % SLOTS)

    def watch(
        self, *, capacity: int, layers: int, first_layer: int, size: tuple[int, int]
    ) -> tuple[int, int, CapturedCall]:
        """As `open`, for a call that is captured in a graph: its report may come again with each replay."""
        with self.lock:
            capture = self.captures % MOST_CAPTURES
            self.captures += 1
            words = self.words[SLOTS + capture]
            words.zero_()
            call = CapturedCall(
                words=words,
                views=self.views[capture, :layers],
                size=size,
                capacity=capacity,
                first_layer=first_layer,
            )
            self.watched = [*self.watched[-MOST_CAPTURES + 1 :], call]
            return 1, self._address(SLOTS + capture), call

    def sent(self, sequence: int, *, size: tuple[Any, ...], first_layer: int, stream: torch.cuda.Stream) -> Report:
        """Remember the call whose kernels have just been launched."""
        slot = sequence % SLOTS
        report = Report(slot=slot, sequence=sequence, size=size, first_layer=first_layer, stream=stream)
        with self.lock:
            self.pending.append(report)
        return report

    def read(self) -> None:
        """Take in reports that have come; raises RasterizerError for the first bad call, which is then forgotten."""
        with self.lock:
            self._check_gradients()
            # Calls on several streams may come out of turn.
            for report in [one for one in self.pending if self._has_come(one)]:
                self._take_in(report)
                if report.error is not None:
                    raise RasterizerError(report.error)

    def instances(self, report: Report) -> int:
        """Number of instances of a call; waits for it. Raises RasterizerError where its input was bad."""
        with self.lock:
            if report.instances is None:
                self._wait(report)
            instances = self.instances_so_far(report)
            assert instances is not None
            return instances

    def instances_so_far(self, report: Report) -> int | None:
        """As `instances`, but None where the report has not come yet: nobody waits."""
        with self.lock:
            if report.instances is None and self._has_come(report):
                self._take_in(report)
            if report.error is not None:
                self._check_gradients()  # of which an optimiser may have made the bad values
                raise RasterizerError(report.error)
            return report.instances

    def ended(self, report: Report) -> bool:
        """True where the stream of the call has run all that was launched; raises where the GPU has failed."""
        return bool(report.stream.query())

    def _check_gradients(self) -> None:
        """Raise RasterizerError where a backward pass gave a gradient that is not finite, which is then forgotten."""
        if not any(self.gradient_numbers):
            return
        name, layer = next((name, one) for name, one in zip(NOT_FINITE, self.gradient_numbers, strict=True) if one)
        self.gradients.zero_()
        raise RasterizerError(
            f"layer {layer - 1}: the gradient of {name} has NaN or infinite values; look at the loss, or scale it down "
            "(seen by the GPU in an earlier backward pass)"
        )

    def _wait(self, report: Report) -> None:
        """Wait for the report itself, not for the blending that the GPU goes on with."""
        began = time.perf_counter()
        while True:
            for _ in range(LOOKS):
                if self._has_come(report):
                    return
            if self.ended(report) and not self._has_come(report):
                raise RuntimeError(
                    "the GPU ended a rasterizer call without its report; CUDA_LAUNCH_BLOCKING=1 shows what failed"
                )
            waited = time.perf_counter() - began
            if waited > AWAKE:
                time.sleep(min(SLEPT * waited, LONGEST_SLEEP))

    def _has_come(self, report: Report) -> bool:
        return bool(self.numbers[report.slot * WORDS] == report.sequence)

    def _address(self, row: int) -> int:
        return self.words.data_ptr() + 8 * WORDS * row

    def _take_in(self, report: Report) -> None:
        self.pending.remove(report)
        start = report.slot * WORDS
        _, *faults, instances = self.numbers[start : start + WORDS]
        report.instances = instances
        report.error = error_of(faults, report.first_layer)
        if len(self.known) >= MOST_SIZES:
            self.known.clear()
        # Other cameras see more, and an overflow costs more than room: what is known falls slowly.
        self.known[report.size] = max(instances, int(FORGETTING * self.known.get(report.size, 0)))


@functools.cache
def mailbox(device: torch.device) -> Mailbox:
    """The one mailbox of this GPU."""
    return Mailbox()


def check() -> None:
    """Wait for every GPU; raises RasterizerError where a call had bad input that no error has told of yet."""
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", index)
        torch.cuda.synchronize(device)
        mailbox(device).read()


def captured_calls(device: torch.device | None = None) -> tuple[CapturedCall, ...]:
    """The latest MOST_CAPTURES calls captured in CUDA graphs on a GPU, the last one captured last.

    A call of more than 12 layers counts as one for each 12. device: the current one by default.
    """
    index = torch.cuda.current_device() if device is None or device.index is None else device.index
    return tuple(mailbox(torch.device("cuda", index)).watched)
