"""Fixtures of the benchmark's tests: one thread, and the back-ends that some of them need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from moegs_rasterizer import cpu, cuda


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On tensors this small a second thread costs more than it computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cpp_back_end() -> None:
    """Skips the test where the C++ back-end cannot run."""
    reason = cpu.unavailable_reason()
    if reason is not None:
        pytest.skip(f"the C++ back-end cannot run here: {reason}")


@pytest.fixture
def gpu() -> torch.device:
    """The GPU; fails the test without one, as `-m "not cuda"` leaves such tests out."""
    reason = cuda.unavailable_reason()
    if reason is not None:
        pytest.fail(f"the CUDA back-end cannot run here: {reason}", pytrace=False)
    return torch.device("cuda", torch.cuda.current_device())
