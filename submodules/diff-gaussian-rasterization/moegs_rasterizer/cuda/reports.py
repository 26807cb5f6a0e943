"""Reports of the GPU on calls that have returned: the number of instances, and the first bad value of each layer.

The last counting kernel of a call writes them into pinned host memory, and the host does not wait. The next call looks
for reports that have come. The backward pass, which needs its own, waits for an event that has usually passed.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..types import RasterizerError

# csrc/cuda/launch.h
MOST_LAYERS = 12
WORDS = 2 + MOST_LAYERS  # int64s of a report: sequence, faults of the layers, instances
NO_FAULT = -1
NOT_FINITE = ("means", "scales", "quats", "opacities", "sh", "colours", "features", "background")
OUT_OF_RANGE = ("scales is below 0{}; apply exp first", "opacities leaves [0, 1]{}; apply the sigmoid first")

SLOTS = 256  # calls whose reports may be on their way at once
MOST_INSTANCES = 2**31 - 1
SLACK = 1.1  # of memory for instances over those of the calls alike
FORGETTING = 0.99  # of the most instances known, with each call
FIRST_GUESS = 8  # instances a Gaussian
LEAST_CAPACITY = 4096
MOST_SIZES = 256  # of calls remembered


@dataclass(slots=True, kw_only=True, eq=False)
class Report:
    """One call's report, filled in once it has come."""

    slot: int
    sequence: int
    size: tuple[Any, ...]  # calls of one size have about as many instances
    first_layer: int
    event: torch.cuda.Event
    instances: int | None = None
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Mailbox:
    """Reports of the latest calls on one GPU, and the instances known from them."""

    words: Tensor = field(default_factory=lambda: torch.zeros(SLOTS + 1, WORDS, dtype=torch.int64, pin_memory=True))
    pending: list[Report] = field(default_factory=list)
    known: dict[tuple[Any, ...], int] = field(default_factory=dict)  # instances of calls of each size
    sequence: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)  # backward passes run on a thread of their own

    def capacity(self, size: tuple[Any, ...], rows: int) -> int:
        """Instances that a call of this size gets memory for."""
        instances = self.known.get(size)
        guess = FIRST_GUESS * rows if instances is None else int(SLACK * instances)
        return min(max(guess, LEAST_CAPACITY), MOST_INSTANCES)

    def open(self) -> tuple[Tensor, int]:
        """Memory for the next call's report, and its sequence number; raises RasterizerError for a bad earlier call."""
        with self.lock:
            self.read()
            while len(self.pending) >= SLOTS:
                self.pending[0].event.synchronize()
                self.read()
            self.sequence += 1
            return self.words[self.sequence % SLOTS], self.sequence

    def unread(self) -> Tensor:
        """Memory for a report that is not read: of a call captured in a graph, which runs whenever the graph does."""
        return self.words[SLOTS]

    def sent(self, sequence: int, *, size: tuple[Any, ...], first_layer: int, device: torch.device) -> Report:
        """Remember the call whose kernels have just been launched."""
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        report = Report(slot=sequence % SLOTS, sequence=sequence, size=size, first_layer=first_layer, event=event)
        with self.lock:
            self.pending.append(report)
        return report

    def read(self) -> None:
        """Take in reports that have come; raises RasterizerError for the first bad call, which is then forgotten."""
        with self.lock:
            # Calls on several streams may come out of turn.
            for report in [one for one in self.pending if int(self.words[one.slot, 0]) == one.sequence]:
                self._take_in(report)
                if report.error is not None:
                    raise RasterizerError(report.error)

    def instances(self, report: Report) -> int:
        """Number of instances of a call; waits for it. Raises RasterizerError where its input was bad."""
        with self.lock:
            if report.instances is None:
                report.event.synchronize()
                self._take_in(report)
            if report.error is not None:
                raise RasterizerError(report.error)
            assert report.instances is not None
            return report.instances

    def _take_in(self, report: Report) -> None:
        self.pending.remove(report)
        _, *faults, instances = self.words[report.slot].tolist()
        report.instances = instances
        report.error = _error(faults, report.first_layer)
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


def _error(faults: list[int], first_layer: int) -> str | None:
    for layer, code in enumerate(faults):
        if code == NO_FAULT:
            continue
        row, fault = divmod(code, 16)
        where = f", first at row {row}"
        if fault < len(NOT_FINITE):
            text = f"{NOT_FINITE[fault]} has NaN or infinite values{where}; repair or drop these rows"
        else:
            text = OUT_OF_RANGE[fault - len(NOT_FINITE)].format(where)
        return f"layer {first_layer + layer}: {text} (seen by the GPU; that call's images are NaN)"
    return None
