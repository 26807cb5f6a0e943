"""The memory for kept frames: half of what a GPU has free, and none on a CPU."""

from __future__ import annotations

import logging

from engine.runs import frame_memory
from engine.runs.device import CPU, CUDA, ComputeDevice
from experts.kept_frames import COMPUTED
from tests.small_world import small_experts


def test_a_gpus_free_memory_is_shared_among_the_experts(monkeypatch, caplog):
    monkeypatch.setattr(frame_memory, "free_memory", lambda device: 6 * 2**30 if device == CUDA else None)
    with caplog.at_level(logging.INFO):
        frames = frame_memory.expert_frames(small_experts(), ComputeDevice(device=CUDA, backend="cuda"))
    assert frames.most_each == 2**30 and frames.precision == "float32"
    assert "frames of experts are kept in GPU memory, in 3.2 GB at most" in caplog.text
    assert frame_memory.expert_frames(small_experts(), ComputeDevice(device=CPU, backend="auto")) is COMPUTED
