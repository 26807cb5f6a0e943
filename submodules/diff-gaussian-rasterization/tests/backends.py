"""Which back-ends a test runs on, and on how many threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from moegs_rasterizer import cpu

BACKENDS = ("torch", "cpu")


def require(backend: str) -> str:
    """The back-end's name; skips the test where that back-end cannot run, saying why."""
    if backend == "cpu":
        reason = cpu.unavailable_reason()
        if reason is not None:
            pytest.skip(f"the C++ back-end cannot run here: {reason}")
    return backend


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On tensors this small a second thread costs more than it computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
