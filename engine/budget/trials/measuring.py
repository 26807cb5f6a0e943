"""The way all trials are measured: for how long, with a quiet log, and the memory of a GPU."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.runs.device import ComputeDevice

TRIAL_SECONDS = 1.5  # of iterations of a mixture, and of an expert at each size
_LOGS = ("engine.training", "engine.evaluation", "engine.runs", "experts")  # whose lines would tell of no real work


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Lets the parts that are tried log errors alone."""
    levels = {name: logging.getLogger(name).level for name in _LOGS}
    for name in _LOGS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def start_memory(compute: ComputeDevice) -> int:
    """Begins to look for the peak of a GPU's memory; bytes that tensors hold so far, 0 on a CPU."""
    if compute.device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(compute.device)
    return torch.cuda.memory_allocated(compute.device)


def peak_bytes(compute: ComputeDevice) -> float | None:
    """The most bytes of a GPU that tensors held since `start_memory`; None on a CPU."""
    return float(torch.cuda.max_memory_allocated(compute.device)) if compute.device.type == "cuda" else None
