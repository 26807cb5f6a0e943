"""Marks of a training step's parts, which torch.profiler shows: `with mark(DATA): ...`.

In a router's step each mark is set once, in the order below; no two overlap. They are set only while `marks_are_set`:
a mark takes some 15 microseconds, which a training step would wait for eleven times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch.profiler import record_function

DATA = "target image"
ROUTING_WEIGHTS = "routing weights"


def at_a_frame(expert: str) -> str:
    """The mark of one expert's Gaussians at a frame."""
    return f"{expert}: Gaussians of the frame"


RASTERIZE = "rasterize, forward"
BLEND = "router head and blend"
LOSS = "loss"
BACKWARD = "backward"
UPDATE = "update"

_nothing: AbstractContextManager[object] = nullcontext()
_set = False


def mark(name: str) -> AbstractContextManager[object]:
    """A part of the step by name, around its code."""
    return record_function(name) if _set else _nothing


@contextmanager
def marks_are_set() -> Iterator[None]:
    """Sets marks while the context lasts, for a loop that is profiled."""
    global _set
    before, _set = _set, True
    try:
        yield
    finally:
        _set = before
