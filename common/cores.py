"""The CPU cores that this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Counts the cores that this process may run on: fewer than the machine has under `taskset`, or a scheduler."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
