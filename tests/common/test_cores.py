"""The cores of a process are those that it may run on."""

from __future__ import annotations

import os

from common.cores import usable_cores


def test_a_process_that_keeps_to_one_core_has_one() -> None:
    all_cores = os.sched_getaffinity(0)
    assert usable_cores() == len(all_cores)
    os.sched_setaffinity(0, {min(all_cores)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, all_cores)
