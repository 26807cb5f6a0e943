"""A step of a training that runs out of memory: one line that says what to do, and room for the save that follows."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.errors import memory_line


@contextmanager
def memory_told(work: str) -> Iterator[None]:
    """Raises torch.OutOfMemoryError in one line where a block runs out of memory, of a GPU or of the machine.

    PyTorch, CUDA and its libraries have an error each for it; of a gradient's computation they come as they are. What
    the block's functions held is freed first: a state is saved next, which needs room. work: what the block does.
    """
    told = None
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        told = memory_line(error, work)
        if told is None:
            raise
        traceback.clear_frames(error.__traceback__)
    if told is not None:
        raise torch.OutOfMemoryError(told) from None
