"""A pruned run is an ordinary run with fewer Gaussians."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import engine.checks.experts
import engine.compression.scores
import engine.runs.saved.loading
import moegs
from benchmarks import pruning_curve
from engine.commands import prune as prune_command
from engine.compression import sizes
from engine.compression.pruned import kept_masks
from engine.compression.ranked_frames import all_frames, frames_between, ranked_frames
from engine.compression.rounds import Pruning, prune_in_rounds, ratio_goal
from engine.compression.scores import run_scores
from engine.compression.sizes import WrittenSizes, share_for_megabytes, written_sizes
from engine.compression.tuning import Tuning, row_parameters
from engine.evaluation.held_out import mixture_psnr
from engine.evaluation.provenance import megabytes
from engine.runs.experts.novel_near import seen_in_training
from engine.runs.run import Run, mix_view
from engine.runs.saved.kept_rules import rules_to_keep
from engine.runs.saved.loading import load_run, trained_config
from engine.training.router.judge import judged, with_judgement
from experts.rows import block_sizes
from tests import exhausted
from tests.engine.expert_scene import FRAMES

ON_CPU = {"device": "cpu"}


def prune(world: Path, out: Path, *more: str, folder: str = "run") -> int:
    return moegs.main(["prune", str(world / folder), f"--out={out}", "--quiet", "--device=cpu", *more])


def test_nothing_removed_and_nothing_trained_leaves_the_images_as_they_are(world: Path, tmp_path: Path) -> None:
    assert prune(world, tmp_path / "same", "--ratio=0", "--iterations=0") == 0
    before, after = (load_run(path, overrides=ON_CPU) for path in (world / "run", tmp_path / "same"))
    assert after.iteration == before.iteration == 3 and after.training_seconds == before.training_seconds
    for frame in (0, 5):
        assert torch.equal(mix_view(before, 0, frame).image, mix_view(after, 0, frame).image)


def test_a_pruned_run_trains_further_and_renders(world: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "half"
    few = ["--iterations=2", "--score_frames=2", "--rounds=2"]
    assert prune(world, out, "--ratio=0.5", "--tune=router", "--score=gate", *few) == 0
    assert "moegs.py render --save_path" in capsys.readouterr().out
    before, after = (load_run(path, overrides=ON_CPU) for path in (world / "run", out))
    assert after.iteration == 5
    counts = [sum(each.num_gaussians for each in one.experts) for one in (before, after)]
    assert counts[1] == pytest.approx(counts[0] / 2, abs=6), "each block keeps its best row"
    facts = json.loads((out / "pruned.json").read_text())
    assert [facts[name]["gaussians"]["total"] for name in ("before", "after")] == counts
    assert (facts["ratio"], facts["megabytes"], facts["fps"]) == (0.5, None, None)
    report = out / "experts" / "Ex4DGS" / "Ex4DGS" / "train_expert.json"
    assert report.is_file(), "it tells which cameras the expert was trained on"
    saved = json.loads((out / "router" / "iteration_5" / "router.json").read_text())
    for beside, place in ((saved["scene"]["beside"], world / "film"), (saved["experts"][0]["beside"], report.parent)):
        assert (out / beside).resolve() == place.resolve(), "for trees that are moved as a whole"
    assert moegs.main(["render", f"--save_path={out}", "--skip_train", "--quiet", "--device=cpu"]) == 0


def test_tuning_moves_what_gaussians_have_of_their_own_and_the_router_and_lowers_the_loss(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    config = trained_config(world / "run")
    tuning = Tuning(what="all", iterations=30, rate=2)
    pruning = Pruning(score="contribution", scope="expert", score_frames=2, rounds=1, tuning=tuning)
    goal = ratio_goal(run, 0.5)
    plain = replace(pruning, tuning=replace(tuning, iterations=0))
    before, after = (prune_in_rounds(run, goal, each, config, quiet=True) for each in (plain, pruning))
    assert before is not None and after is not None
    assert after.iteration == run.iteration + 30 and before.iteration == run.iteration
    for old, new in zip(before.experts, after.experts, strict=True):
        own = {id(parameter) for parameter in row_parameters(new)}
        for (name, was), now in zip(old.named_parameters(), new.parameters(), strict=True):
            moved = not torch.equal(was, now)
            if id(now) not in own:
                assert not moved, name
            elif name.endswith("opacity_logits") and now.numel():
                assert moved, name
            assert not now.requires_grad

    def error(one: Run) -> float:
        view = run.scene.train[0]
        truth = torch.tensor(run.scene.frames.read(view, 3)).permute(2, 0, 1) / 255
        return float((mix_view(one, view, 3).image - truth).abs().mean())

    assert error(after) < 0.9 * error(before)
    assert not torch.equal(before.router.features.static[0], after.router.features.static[0])


@pytest.mark.parametrize("more", [(), ("--compress",)])
def test_what_is_told_of_a_pruned_run_is_what_the_written_one_shows(world: Path, tmp_path: Path, more) -> None:
    """Rules for novel views stay those of the whole run: most Gaussians gone, others would be found."""
    out, run = tmp_path / "few", load_run(world / "run", overrides=ON_CPU)
    assert (
        prune(world, out, "--ratio=0.8", "--scope=expert", "--iterations=0", "--score_frames=2", "--rounds=2", *more)
        == 0
    )
    pruning = Pruning(
        score="image", scope="expert", score_frames=2, rounds=2, tuning=Tuning(what="router", iterations=0)
    )
    told = prune_in_rounds(run, ratio_goal(run, 0.8), pruning, trained_config(world / "run"), quiet=True)
    assert told is not None
    found = seen_in_training(told.scene, told.experts, told.compute)
    assert found[1] < 0.9 * run.novel.usual_coverage, "fewer Gaussians give other rules"
    written = load_run(out, overrides=ON_CPU)
    assert rules_to_keep(written.novel) == rules_to_keep(told.novel) == rules_to_keep(run.novel)
    assert moegs.main(["render", f"--save_path={out}", "--skip_train", "--quiet", "--device=cpu"]) == 0
    rendered = json.loads((out / "test" / "itrs_3" / "metrics.json").read_text())
    assert rendered["usual_coverage"] == run.novel.usual_coverage
    psnr = rendered["means"]["MoE"]["psnr"]
    if not more:
        assert psnr == pytest.approx(mixture_psnr(told, frames=range(FRAMES)), abs=1e-5)
        return
    facts = json.loads((out / "compressed.json").read_text())
    between = (1, 2)  # ranked are 0 and 3, and of STG's second segment 4 and 5
    shown = [each["scores"]["MoE"]["psnr"] for each in rendered["per_frame"] if each["frame"] in between]
    assert facts["frames_of_each_camera"] == len(shown) == 2
    assert facts["psnr"] == pytest.approx(fmean(shown), abs=1e-5) != psnr
    assert facts["psnr_uncompressed"] == pytest.approx(mixture_psnr(told, frames=between), abs=1e-5)


def test_a_flag_decides_for_its_rule_of_a_pruned_run_alone(world: Path, tmp_path: Path) -> None:
    out, run = tmp_path / "few", load_run(world / "run", overrides=ON_CPU)
    few = ["--ratio=0.8", "--scope=expert", "--iterations=0", "--score_frames=1", "--rounds=1"]
    assert prune(world, out, *few, "--novel_near=0.7") == 0
    assert load_run(out, overrides=ON_CPU).novel.culling.near == 0.7
    other = load_run(out, overrides={**ON_CPU, "novel_near": 0.3, "coverage_guard": "on"}).novel
    assert other.culling.near == 0.3 and other.usual_coverage == run.novel.usual_coverage
    plain = load_run(out, overrides={**ON_CPU, "coverage_guard": "off"}).novel
    assert plain.hole_colour is None and plain.usual_coverage == 1 and plain.culling.near == 0.7
    less = load_run(out, overrides={**ON_CPU, "without": ("STG",)})
    assert less.novel.usual_coverage == seen_in_training(less.scene, less.experts, less.compute)[1]
    go_on = ["--resume", f"--save_path={out}", "--iterations=4", "--quiet", "--test_iterations", "--device=cpu"]
    assert moegs.main(["train", f"--config={out / 'config.json'}", *go_on]) == 0
    resumed = load_run(out, overrides=ON_CPU)
    assert resumed.iteration == 4 and resumed.novel.usual_coverage == run.novel.usual_coverage


def test_a_run_of_before_has_the_rules_that_its_gaussians_give(world: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "few"
    assert prune(world, out, "--ratio=0.8", "--scope=expert", "--iterations=0", "--score_frames=1", "--rounds=1") == 0
    path = out / "router" / "iteration_3" / "router.json"
    facts = json.loads(path.read_text())
    del facts["hash"]
    path.write_text(json.dumps(facts | {"novel_views": facts["novel_views"] | {"usual_coverage": 1.5}}))
    assert moegs.main(["render", f"--save_path={out}", "--skip_train", "--quiet", "--device=cpu"]) == 2
    assert f"{path}: damaged" in capsys.readouterr().err
    del facts["novel_views"]
    path.write_text(json.dumps(facts))
    old = load_run(out, overrides=ON_CPU)
    assert (old.novel.hole_colour, old.novel.usual_coverage) == seen_in_training(old.scene, old.experts, old.compute)


@pytest.mark.parametrize("iterations", [0, 2])
def test_the_judge_judges_what_is_left(world: Path, iterations: int) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    run = replace(run, scene=replace(run.scene, router=run.scene.test))  # so that it is the judge
    run = with_judgement(run, judged(run))
    tuning = Tuning(what="router", iterations=iterations)
    pruning = Pruning(score="image", scope="mixture", score_frames=1, rounds=1, tuning=tuning)
    left = prune_in_rounds(run, ratio_goal(run, 0.9), pruning, trained_config(world / "run"), quiet=True)
    assert left is not None and left.judgement is not None
    assert left.judgement == judged(left) != run.judgement
    assert left.novel.towards_mean == left.judgement.towards_mean


def test_rounds_reach_the_same_share_and_go_by_newer_scores(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    tuning = Tuning(what="router", iterations=0)
    once = Pruning(score="image", scope="mixture", score_frames=2, rounds=1, tuning=tuning)
    counts, rows = [], []
    for pruning in (once, replace(once, rounds=3)):
        pruned = prune_in_rounds(run, ratio_goal(run, 0.6), pruning, trained_config(world / "run"), quiet=True)
        assert pruned is not None
        counts.append(sum(expert.num_gaussians for expert in pruned.experts))
        rows.append(torch.cat([parameter.flatten() for parameter in row_parameters(pruned.experts[0])]))
    total = sum(expert.num_gaussians for expert in run.experts)
    assert counts == [pytest.approx(0.4 * total, abs=6)] * 2
    assert rows[0].shape != rows[1].shape or not torch.equal(*rows)


def test_a_tuned_run_is_written_as_it_is(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    few = ["--tune=all", "--iterations=4", "--score_frames=1", "--rounds=2"]
    assert prune(world, out, *few) == 0
    old, new = (load_run(path, overrides=ON_CPU) for path in (world / "run", out))
    assert new.iteration == old.iteration + 4 and new.training_seconds > old.training_seconds
    facts = json.loads((out / "pruned.json").read_text())
    assert (facts["tune"], facts["rounds"], facts["iterations"], facts["score"]) == ("all", 2, 4, "image")
    assert (facts["ratio"], facts["megabytes"], facts["score_frames"]) == (0.55, None, 1), "the default goal"
    report = json.loads((out / "experts" / "Ex4DGS" / "Ex4DGS" / "train_expert.json").read_text())
    assert report["scores"] is None and report["pruned"]["from"] == facts["from"]
    train = ["--resume", f"--save_path={out}", f"--iterations={new.iteration + 1}", "--quiet", "--test_iterations"]
    assert moegs.main(["train", f"--config={out / 'config.json'}", *train]) == 0, "the router can go on"


def test_the_curve_is_a_markdown_table(world: Path, tmp_path: Path, capsys) -> None:
    few = ["--iterations=2", "--score_frames=1", "--test_frames=1", "--rounds=1", "--device=cpu"]
    table = ["--ratios", "0.3", "0.6", "--tune", "all", "none", f"--out={tmp_path / 'curve'}"]
    assert pruning_curve.main([str(world / "run"), *table, *few]) == 0
    lines = (tmp_path / "curve" / "pruning_curve.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[1:3] for row in cells[2:]] == [
        ["", "0 %"],
        *[[tune, share] for tune in ("all", "none") for share in ("30 %", "60 %")],
    ]
    counts = [int(row[3].replace(",", "")) for row in cells[2:]]
    assert counts[1] == counts[3] == pytest.approx(0.7 * counts[0], abs=6)
    run = load_run(world / "run", overrides=ON_CPU)
    between = mixture_psnr(run, frames=[1])  # ranked are 0, and of STG's segments 3, 4 and 5
    assert float(cells[2][4]) == pytest.approx(between, abs=0.006) != mixture_psnr(run, frames=[0])
    assert float(cells[2][6]) == pytest.approx(megabytes(run)["total"], abs=0.06)
    assert lines[-1] in capsys.readouterr().out


class Segments:
    """An expert that shows other rows every few frames."""

    def __init__(self, *lengths: int) -> None:
        self._of_frame = [index for index, length in enumerate(lengths) for _ in range(length)]

    def rows(self, frame: float) -> slice:
        return slice(10 * self._of_frame[int(frame)], 10 * self._of_frame[int(frame)] + 10)


@pytest.mark.parametrize(
    ("lengths", "wanted", "expected"),
    [
        ((20,), 3, (0, 6, 13)),
        ((10, 10), 4, (0, 5, 10, 15)),
        ((8, 8, 1, 3), 2, (0, 10, 6, 14, 16, 17, 19)),
        ((8, 2, 10), 1, (0, 6, 8, 9, 12, 17)),
    ],
)
def test_every_segment_has_frames_that_it_is_ranked_at(lengths, wanted, expected) -> None:
    whole = Segments(20)
    run = SimpleNamespace(scene=SimpleNamespace(num_frames=20), experts=(whole, Segments(*lengths)))
    even, own = ranked_frames(run, wanted)
    assert own == expected and even == expected[:wanted]
    assert all_frames([even, own]) == [*even, *sorted(set(own) - set(even))]


@pytest.mark.parametrize(
    ("lengths", "ranked", "wanted", "expected"),
    [
        ((300,), 10, 10, [15, 45, 75, 105, 135, 165, 195, 225, 255, 285]),
        ((300,), 20, 10, [7, 37, 67, 97, 127, 157, 187, 217, 247, 277]),
        ((12,), 10, 10, [5, 11]),
        ((20,), 1, 4, [2, 5, 10, 15]),
        ((6,), 10, 4, [0, 1, 3, 4]),
        ((10, 10), 1, 3, [3, 9, 14]),
    ],
)
def test_what_a_pruning_costs_is_measured_between_the_ranked_frames(lengths, ranked, wanted, expected) -> None:
    """Where the clip has other frames."""
    run = SimpleNamespace(scene=SimpleNamespace(num_frames=sum(lengths)), experts=(Segments(*lengths),))
    assert frames_between(run, ranked, wanted) == expected
    if len(lengths) == 1 and sum(lengths) > ranked:
        assert not {*expected} & {*ranked_frames(run, ranked)[0]}


def test_no_segment_is_wiped_and_scores_are_means_over_the_clip(
    world: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Of STG's two segments, four frames and two, the one frame that is asked for shows the first alone."""
    run = load_run(world / "run", overrides=ON_CPU)
    stg = [expert.name for expert in run.experts].index("STG")
    sizes = block_sizes(run.experts[stg])
    every, few = (run_scores(run, "contribution", frames=count, progress=False) for count in (FRAMES, 1))
    for wanted, found in zip(every[stg].split(sizes), few[stg].split(sizes), strict=True):
        assert float(found.sum()) == pytest.approx(float(wanted.sum()), rel=0.15)
    out = tmp_path / "half"
    words = ["prune", str(world / "run"), f"--out={out}", "--device=cpu", "--scope=expert", "--iterations=0"]
    assert moegs.main([*words, "--ratio=0.5", "--score_frames=1", "--rounds=2"]) == 0
    assert "Gaussians are ranked at 4 frames, not 1: every segment or window has 2" in capsys.readouterr().err
    left = block_sizes(load_run(out, overrides=ON_CPU).experts[stg])
    assert sum(left) == pytest.approx(sum(sizes) / 2, abs=3)
    assert all(0.15 * size < kept for size, kept in zip(sizes, left, strict=True))
    plain = [(0,)] * len(run.experts)
    monkeypatch.setattr(engine.compression.scores, "ranked_frames", lambda *_: plain)
    monkeypatch.setattr(engine.compression.scores, "frames_of_blocks", lambda *_: {})
    for index, score in enumerate(run_scores(run, "contribution", frames=1, progress=False)):
        if index != stg:  # without segments a score is the mean over the frames asked for, to the bit
            assert torch.equal(score / len(run.scene.train), few[index])


def test_by_expert_each_loses_its_share(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    scores = run_scores(run, "contribution", frames=2, progress=False)
    for kept in kept_masks(run, scores, 0.5, "expert"):
        assert int(kept.sum()) == pytest.approx(len(kept) / 2, abs=3)


def size_of(folder: Path) -> float:
    return float(megabytes(load_run(folder, overrides=ON_CPU))["total"])


def test_the_share_for_a_size_is_the_smallest(world: Path, tmp_path: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    wanted = megabytes(run)["total"] - 0.03  # networks are the most of it
    scores = run_scores(run, "contribution", frames=2, progress=False)
    written = written_sizes(run, tmp_path / "small")
    assert not list(tmp_path.iterdir()), "the copies are removed"
    assert 0 < share_for_megabytes(run, scores, wanted, "mixture", sizes=written) < 0.9
    assert prune(world, tmp_path / "small", f"--megabytes={wanted}", "--iterations=0") == 0
    assert size_of(tmp_path / "small") == pytest.approx(wanted, abs=0.003)


def test_sizes_are_those_of_the_files_that_are_written(world: Path, tmp_path: Path, capsys) -> None:
    """All columns count, those of no tensor, too; a compressed run is written plainly without --compress."""
    once = ["--iterations=0", "--rounds=1", "--score=contribution", "--score_frames=1"]
    assert prune(world, tmp_path / "all", "--ratio=0", *once) == 0
    assert prune(world, tmp_path / "packed", "--ratio=0", "--compress", *once) == 0
    plain = size_of(tmp_path / "all")
    assert size_of(tmp_path / "packed") < 0.6 * plain
    for name in ("all", "packed"):
        run, out = load_run(tmp_path / name, overrides=ON_CPU), tmp_path / f"half of {name}"
        assert prune(tmp_path, out, "--ratio=0.5", "--scope=expert", *once, folder=name) == 0
        written = written_sizes(run, tmp_path / "new")
        assert written.megabytes(run.experts) == pytest.approx(plain, abs=0.003)
        left = load_run(out, overrides=ON_CPU).experts
        assert written.megabytes(left) == pytest.approx(size_of(out), abs=0.003)
    wanted, out = plain - 0.03, tmp_path / "small"
    capsys.readouterr()
    assert prune(tmp_path, out, f"--megabytes={wanted}", *once, folder="packed") == 0
    assert size_of(out) == pytest.approx(wanted, abs=0.003)
    assert "more than the" not in capsys.readouterr().err


def test_a_disk_too_full_for_the_copies_is_one_line(world: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sizes, "save_model", full)
    assert prune(world, tmp_path / "small", "--megabytes=3", "--iterations=0") != 0
    (told,) = exhausted.errors_of(capsys.readouterr().err)
    assert told.startswith(f"error: {tmp_path / 'small'}: ") and not list(tmp_path.iterdir())


def test_a_size_that_is_missed_is_told(world: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(WrittenSizes, "megabytes", lambda *_: 0.0)  # as if files were smaller than they are
    once = ["--iterations=0", "--rounds=1", "--score=gate", "--score_frames=1"]
    assert prune(world, tmp_path / "small", "--megabytes=3", *once) == 0
    said = capsys.readouterr().err
    assert (
        f"the new run has {size_of(tmp_path / 'small'):.1f} MB, more than the 3 MB of --megabytes; prune again" in said
    )


def test_a_goal_that_the_run_meets_is_told_and_not_searched_for(world: Path, tmp_path: Path, capsys) -> None:
    few = ["--iterations=2", "--score_frames=1", "--rounds=3"]
    words = ["prune", str(world / "run"), f"--out={tmp_path / 'same'}", "--device=cpu", "--fps=0.001"]
    assert moegs.main([*words, *few]) == 0
    printed, said = capsys.readouterr()
    assert "the run meets the goal as it is: no Gaussian is removed" in said
    total = sum(expert.num_gaussians for expert in load_run(world / "run", overrides=ON_CPU).experts)
    assert f"pruning, round 1 of 1: {total:,} of {total:,} Gaussians are left" in said and "round 2" not in said
    assert "what was written is opened again" in said
    assert re.search(r"frames a second on this machine: \d+\.\d before, \d+\.\d now", printed)


def test_a_speed_that_is_missed_is_told(world: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    speeds = iter((25.0, 18.24))  # before, and of the new run
    monkeypatch.setattr(prune_command, "share_for_speed", lambda *_: 0.1)
    monkeypatch.setattr(prune_command, "measured_speed", lambda _: next(speeds))
    once = ["--iterations=0", "--rounds=1", "--score=gate", "--score_frames=1"]
    assert prune(world, tmp_path / "fast", "--fps=20", *once) == 0
    printed, said = capsys.readouterr()
    assert "frames a second on this machine: 25.0 before, 18.2 now" in printed
    assert "the new run has 18.2 frames a second, less than the 20 of --fps; prune again with a larger" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ratio=1.2"], "--ratio is 1.2: give 0 to 0.99"),
        (["--rounds=100000"], "--rounds is 100000: give at most 100"),
        (["--ratio=0.5", "--fps=10"], "--ratio and --fps exclude each other: give one"),
        (["--megabytes=0.000001"], "without 99% of its Gaussians the run would still have 5.7 MB; give that or more"),
        (["--fps=1e9"], "at most, without 99% of the Gaussians; give less"),
        (["--rate=0"], "--rate is 0: give more than 0"),
        (["--rate=3"], "--rate 3 is of --tune all: give both, or leave it out"),
        (["--rounds=0"], "--rounds is 0: give 1 or more"),
        (["--score_frames=0"], "--score_frames is 0: give 1 or more"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_written(world, tmp_path, capsys, flags, message) -> None:
    assert prune(world, tmp_path / "none", *flags) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_run_of_which_too_little_is_left_is_told_as_such(world: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    load = engine.runs.saved.loading.load_run

    def then_strict(*args: Any, **options: Any) -> Run:
        run = load(*args, **options)
        monkeypatch.setattr(engine.checks.experts, "SMALLEST_COVERAGE", 1.1)  # as if hardly any Gaussian were left
        return run

    monkeypatch.setattr(prune_command, "load_run", then_strict)
    assert prune(world, tmp_path / "out", "--iterations=4", "--rounds=2", "--score_frames=2") == 2
    said = capsys.readouterr().err
    assert "nothing is written, as no command could open the new run (" in said and "remove fewer" in said
    assert not (tmp_path / "out").exists()


def test_a_tuning_that_diverges_is_told_as_such(world: Path, tmp_path: Path, capsys) -> None:
    """Not as a file to be repaired, which the rasterizer takes it for."""
    flags = [
        "--tune=all",
        "--rate=1e9",
        "--iterations=5",
        "--rounds=1",
        "--score_frames=1",
        "--score=gate",
        "--ratio=0.1",
    ]
    assert prune(world, tmp_path / "none", *flags) == 2
    error = capsys.readouterr().err
    assert "the tuning diverged (" in error and "; give a smaller --rate" in error and "repair" not in error
    assert not (tmp_path / "none").exists()


def test_a_folder_with_files_is_not_replaced(world: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "kept").write_text("mine")
    assert prune(world, tmp_path) == 2
    assert "is not empty; choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("meanwhile", "codes", "said", "ratio"),
    [
        ("prune_in_rounds", [2, 0], "another command writes here; wait for it or end it, or choose another --out", 0.5),
        ("parts_of_run", [0, 2], "is not empty; choose another folder", 0.1),
    ],
)
def test_of_two_at_the_same_time_one_leaves_a_whole_run_and_one_is_refused(
    world: Path, tmp_path: Path, capsys, monkeypatch, meanwhile: str, codes: list[int], said: str, ratio: float
) -> None:
    out, few = tmp_path / "pruned", ["--iterations=0", "--score=gate", "--score_frames=1", "--rounds=1"]
    usual, ended = getattr(prune_command, meanwhile), []

    def with_another(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(prune_command, meanwhile, usual)
        ended.append(prune(world, out, "--ratio=0.1", *few))
        return usual(*given, **named)

    monkeypatch.setattr(prune_command, meanwhile, with_another)
    ended.append(prune(world, out, "--ratio=0.5", *few))
    assert ended == codes and said in capsys.readouterr().err
    facts = json.loads((out / "pruned.json").read_text())
    counts = sum(expert.num_gaussians for expert in load_run(out, overrides=ON_CPU).experts)
    assert facts["ratio"] == ratio and facts["after"]["gaussians"]["total"] == counts
    assert [path.name for path in tmp_path.iterdir()] == ["pruned"]
