"""The memory for kept frames: half of what a GPU has to spare, and none on a CPU."""

from __future__ import annotations

import logging

from engine.runs.cost import run_bytes
from engine.runs.experts import kept_frames
from engine.runs.experts.kept_frames import with_kept_frames
from tests.small_world import small_run


def test_a_gpus_spare_memory_is_shared_among_the_experts(tmp_path, monkeypatch, caplog):
    run = small_run(tmp_path)
    needed = run_bytes(run, range(len(run.scene.views)), training=True)
    monkeypatch.setattr(kept_frames, "spare_memory", lambda device: needed + 6 * 2**30)
    with caplog.at_level(logging.INFO):
        kept = with_kept_frames(run)
    assert (kept.frames.most, kept.frames.shares) == (3 * 2**30, 3) and kept.frames.precision == "float32"
    assert "frames of experts are kept in GPU memory, in 3.2 GB at most" in caplog.text
    assert kept.router is run.router and kept.experts is run.experts
    monkeypatch.setattr(kept_frames, "spare_memory", lambda device: needed // 2)
    assert with_kept_frames(run).frames.most == 0


def test_a_cpu_keeps_none_and_has_the_precision_asked_for(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run = with_kept_frames(small_run(tmp_path), precision="float16")
    assert run.frames.most == 0 and run.frames.precision == "float16" and "kept" not in caplog.text
