"""--seeds: a run for each seed, resumed, rendered and tabled together."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

import engine.training.router.opening
import engine.training.router.task
import moegs
from engine.commands import render, train
from engine.errors import ConfigError
from engine.runs.saved.checkpoint import TENSORS, load_checkpoint, saved_iterations, saved_records
from engine.runs.saved.loading import load_run
from tests.small_world import use_small_world

SHORT = ["--backend=torch", "--iterations=2", "--test_iterations"]


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [*use_small_world(monkeypatch, tmp_path), *SHORT, f"--save_path={tmp_path / 'out'}"]


def router(folder: Path) -> bytes:
    return (folder / "router" / "iteration_2" / TENSORS).read_bytes()


def test_each_seed_is_the_ordinary_run_of_that_seed(tmp_path: Path, flags: list[str]) -> None:
    out = tmp_path / "out"
    assert train.main("E3", [*flags, "--seeds=2", "--seed=4"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "seed_4", "seed_5"]
    assert train.main("E3", [*flags, f"--save_path={tmp_path / 'alone'}", "--seed=5"]) == 0
    assert router(out / "seed_5") == router(tmp_path / "alone") != router(out / "seed_4")
    assert load_run(out / "seed_5").seed == 5
    with pytest.raises(ConfigError, match=r"holds a run for each seed \(seed_4, seed_5\); give one of them"):
        load_run(out)


def test_a_stopped_training_goes_on_with_the_seeds_that_are_left(
    tmp_path: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, real = tmp_path / "out", engine.training.router.task.RouterTask.update

    def interrupts(task, iteration: int):
        if task.config.training.seed == 1 and iteration == 1:
            raise KeyboardInterrupt
        return real(task, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(engine.training.router.task.RouterTask, "update", interrupts)
        assert train.main("E3", [*flags, "--seeds=3"]) == 130
    assert saved_iterations(out / "seed_0") == (2,) and not (out / "seed_2").exists()
    first = (out / "seed_0" / "router" / "iteration_2").stat().st_mtime_ns
    assert train.main("E3", [*flags, "--seeds=3"]) == 2
    assert "add --resume to continue it" in capsys.readouterr().err
    assert train.main("E3", ["--resume", f"--save_path={out}", "--no_quiet"]) == 0
    logged = capsys.readouterr().err
    assert f"{out / 'seed_0'}: trained for 2 iterations before, left as it is" in logged
    assert f"render_E3.py --save_path {out} --iteration 2 --skip_train" in logged
    assert [saved_iterations(out / f"seed_{seed}") for seed in range(3)] == [(2,)] * 3
    assert (out / "seed_0" / "router" / "iteration_2").stat().st_mtime_ns == first


def test_finished_seeds_of_another_expert_are_not_left_as_they_are(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert train.main("E3", [*flags, "--seeds=2"]) == 0
    (record, *_) = saved_records(out / "seed_0")
    changed = Path(record.folder) / next(iter(record.files))
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert train.main("E3", [*flags, "--seeds=2", "--resume"]) == 2
    assert f"is not the model that {out / 'seed_0' / 'router' / 'iteration_2'} was trained" in capsys.readouterr().err


def test_overwriting_sets_every_seed_aside_before_it_trains(tmp_path: Path, flags: list[str]) -> None:
    out = tmp_path / "out"
    assert train.main("E3", [*flags, "--seeds=3"]) == 0
    old = router(out / "seed_2")
    assert train.main("E3", [*flags, "--seeds=2", "--overwrite", "--featuret_lr=0.7"]) == 0
    assert router(out / "seed_2" / "old-1") == old and not saved_iterations(out / "seed_2")
    assert [saved_iterations(out / f"seed_{seed}" / "old-1") for seed in range(3)] == [(2,)] * 3


@pytest.mark.parametrize(
    ("before", "then", "said"),
    [
        (["--seeds=1"], [], "holds a run for each of 1 seed; add --seeds N, or choose another --save_path"),
        ([], ["--seeds=2"], "holds the router of one run; choose another --save_path for --seeds"),
        ([], ["--seeds=2", "--resume"], "holds the router of one run; choose another --save_path for --seeds"),
        ([], ["--seeds=0"], "--seeds is 0: give more than 0"),
        ([], ["--seed=-3"], "--seed is -3: give 0 or more"),
        (
            ["--seeds=1"],
            ["--seeds=1", "--seed=5"],
            "its seeds begin with 0, and --seed is 5: renderings would mix both",
        ),
        (["--seeds=1"], ["--resume", "--seed=5"], "give --seed 0 and a larger --seeds for more, --overwrite to start"),
        (["--seeds=1"], ["--seeds=2", "--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
    ],
)
def test_one_run_and_several_do_not_share_a_folder(
    flags: list[str], before: list[str], then: list[str], said: str, capsys
) -> None:
    assert train.main("E3", [*flags, *before]) == 0
    capsys.readouterr()
    assert train.main("E3", [*flags, *then]) == 2
    assert said in capsys.readouterr().err


def test_the_time_told_is_that_of_all_seeds_still_to_train(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main("E3", [*flags, "--seeds=1"]) == 0
    monkeypatch.setattr(engine.training.router.opening, "must_decode", lambda scene, views: True)
    monkeypatch.setattr(engine.training.router.opening, "seconds_a_step", lambda step, compute, **_: 10.0)
    capsys.readouterr()
    assert train.main("E3", [*(flag for flag in flags if flag != "--quiet"), "--seeds=4", "--resume"]) == 0
    told = "training of all seeds takes about 60 s (6 iterations of 10.0 s, by a trial on this machine)"
    assert told in capsys.readouterr().err


def test_seeds_are_rendered_and_tabled_with_their_spread(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert train.main("E3", [*flags, "--seeds=2", "--iterations=9", "--save_iterations=2"]) == 0
    capsys.readouterr()
    quick = [f"--save_path={out}", "--skip_train", "--quiet", "--constant_frames=0"]
    assert render.main("E3", quick) == 0
    printed = capsys.readouterr().out
    files = [out / f"seed_{seed}" / "test" / "itrs_9" / "metrics.json" for seed in range(2)]
    scores = [json.loads(path.read_text())["means"]["MoE"]["psnr"] for path in files]
    psnr = f"{statistics.fmean(scores):.2f} ± {statistics.stdev(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})"
    spread = printed[printed.index("Mean ± sample standard deviation over 2 seeds") :]
    assert re.search(rf"^  MoE-GS +{re.escape(psnr)}", spread, re.MULTILINE), spread
    assert re.search(r"^  Ex4DGS +\d+\.\d\d +0\.\d{4} ", spread, re.MULTILINE)  # the same for every seed
    assert f"moegs.py table {out}" in printed.splitlines()[-1]
    assert moegs.main(["table", str(out)]) == 0
    assert psnr in capsys.readouterr().out
    check_refusals(out, quick, capsys)


def check_refusals(out: Path, quick: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main("E3", [*quick, "--seeds=3"]) == 2
    assert "holds 2 of a training with --seeds; give as many, or leave it out" in capsys.readouterr().err
    assert render.main("E3", [*quick, f"--save_path={out / 'seed_0'}", "--seeds=1"]) == 2
    assert "holds none of a training with --seeds" in capsys.readouterr().err
    (out / "seed_1" / "router" / "iteration_9").rename(out / "seed_1" / "iteration_9")
    assert render.main("E3", quick) == 2
    assert "the seeds reached different iterations: seed_0 9, seed_1 2" in capsys.readouterr().err
    assert render.main("E3", [*quick, "--seeds=1", "--iteration=2"]) == 0
    assert moegs.main(["table", str(out)]) == 0  # of iteration 9, which both have
    assert render.main("E3", [*quick[1:], f"--save_path={out / 'seed_1'}", "--iteration=2"]) == 0
    (out / "seed_1" / "test" / "itrs_9" / "metrics.json").unlink()
    assert moegs.main(["table", str(out)]) == 2
    assert "its seeds were rendered at different iterations: seed_0 9, seed_1 2" in capsys.readouterr().err
    assert load_checkpoint(out / "seed_1" / "router" / "iteration_2").iteration == 2
