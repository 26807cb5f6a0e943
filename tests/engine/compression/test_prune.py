"""A pruned run is an ordinary run with fewer Gaussians."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import moegs
from engine.compression.pruned import kept_masks, share_for_megabytes
from engine.compression.scores import run_scores
from engine.evaluation.provenance import megabytes
from engine.runs.run import mix_view
from engine.runs.saved import load_run

ON_CPU = {"device": "cpu"}


def prune(world: Path, out: Path, *more: str) -> int:
    return moegs.main(["prune", str(world / "run"), f"--out={out}", "--quiet", "--device=cpu", *more])


def test_nothing_removed_and_nothing_trained_leaves_the_images_as_they_are(world: Path, tmp_path: Path) -> None:
    assert prune(world, tmp_path / "same", "--ratio=0", "--iterations=0") == 0
    before, after = (load_run(path, overrides=ON_CPU) for path in (world / "run", tmp_path / "same"))
    assert after.iteration == before.iteration == 3 and after.training_seconds == before.training_seconds
    for frame in (0, 5):
        assert torch.equal(mix_view(before, 0, frame).image, mix_view(after, 0, frame).image)


def test_a_pruned_run_trains_further_and_renders(world: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "half"
    assert prune(world, out, "--ratio=0.5", "--iterations=2", "--score=gate", "--score_frames=2") == 0
    assert "moegs.py render --save_path" in capsys.readouterr().out
    before, after = (load_run(path, overrides=ON_CPU) for path in (world / "run", out))
    assert after.iteration == 5
    counts = [sum(each.num_gaussians for each in one.experts) for one in (before, after)]
    assert counts[1] == pytest.approx(counts[0] / 2, abs=6), "each block keeps its best row"
    facts = json.loads((out / "pruned.json").read_text())
    assert [facts[name]["gaussians"]["total"] for name in ("before", "after")] == counts
    report = out / "experts" / "Ex4DGS" / "Ex4DGS" / "train_expert.json"
    assert report.is_file(), "it tells which cameras the expert was trained on"
    assert moegs.main(["render", f"--save_path={out}", "--skip_train", "--quiet", "--device=cpu"]) == 0


def test_by_expert_each_loses_its_share(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    scores = run_scores(run, "contribution", frames=2, progress=False)
    for kept in kept_masks(run, scores, 0.5, "expert"):
        assert int(kept.sum()) == pytest.approx(len(kept) / 2, abs=3)


def test_the_share_for_a_size_is_the_smallest(world: Path, tmp_path: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    wanted = megabytes(run)["total"] - 0.03  # networks are the most of it
    scores = run_scores(run, "contribution", frames=2, progress=False)
    assert 0 < share_for_megabytes(run, scores, wanted, "mixture") < 0.9
    assert prune(world, tmp_path / "small", f"--megabytes={wanted}", "--iterations=0") == 0
    size = megabytes(load_run(tmp_path / "small", overrides=ON_CPU))["total"]
    assert size == pytest.approx(wanted, abs=0.006)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ratio=1.2"], "--ratio is 1.2: give 0 to 0.99"),
        (["--ratio=0.5", "--fps=10"], "--ratio and --fps exclude each other: give one"),
        (["--megabytes=0.000001"], "the run would still have"),
        (["--fps=1e9"], "this machine reaches"),
        (["--score_frames=0"], "--score_frames is 0: give 1 or more"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_written(world, tmp_path, capsys, flags, message) -> None:
    assert prune(world, tmp_path / "none", *flags) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_folder_with_files_is_not_replaced(world: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "kept").write_text("mine")
    assert prune(world, tmp_path) == 2
    assert "is not empty; choose another folder" in capsys.readouterr().err
