"""Pruning, tuning and packing on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import moegs
from engine.compression.scores import run_scores
from engine.runs.run import mix_view
from engine.runs.saved.loading import load_run

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("kind", ["gate", "contribution", "image"])
def test_scores_are_those_of_the_cpu(world: Path, kind: str) -> None:
    scores = [
        run_scores(load_run(world / "run", overrides={"device": device}), kind, frames=2, progress=False)
        for device in ("cpu", "cuda")
    ]
    for cpu, gpu in zip(*scores, strict=True):
        scale = float(cpu.max())
        torch.testing.assert_close(gpu.cpu() / scale, cpu / scale, rtol=2e-2, atol=2e-3)


def test_a_tuned_and_compressed_run_is_the_same_on_both_devices(world: Path, tmp_path: Path) -> None:
    few = ["--ratio=0.5", "--iterations=20", "--score_frames=2", "--rounds=2", "--compress", "--quiet", "--device=cuda"]
    assert moegs.main(["prune", str(world / "run"), f"--out={tmp_path / 'half'}", *few]) == 0
    runs = [load_run(tmp_path / "half", overrides={"device": device}) for device in ("cpu", "cuda")]
    images = [mix_view(run, 0, 3).image.cpu() for run in runs]
    torch.testing.assert_close(*images, atol=5e-3, rtol=0)
    assert runs[0].iteration == 23
