"""`moegs.py auto`: a small film within a budget, its commands run in this process."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

import engine.budget.choice
import engine.budget.making
import engine.budget.trials.by_worth
import engine.budget.trials.experts
import engine.budget.trials.mixtures
import engine.pipeline.queue
import moegs
from engine.budget.plan import read_plan
from engine.budget.start_up import StartUp
from experts import EXPERTS
from tests.engine.commands.test_run_all import Here
from tests.engine.expert_scene import write_film

SLOW = 100.0  # seconds that trials say of an iteration, so that an hour is a few of them


def use_experts(monkeypatch: pytest.MonkeyPatch, worth: dict[str, float]) -> None:
    """Lets plans be of these experts alone."""
    for module in (engine.budget.making, engine.budget.trials.by_worth):
        monkeypatch.setattr(module, "WORTH", worth)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    film = write_film(tmp_path)
    places = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 6), (60, 3)).astype(np.float32)
    np.savez(film / "known_points.npz", xyz=places, rgb=np.full((60, 3), 0.5, np.float32))
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", Here)
    monkeypatch.setattr(engine.pipeline.queue, "PAUSE", 0.0)
    monkeypatch.setattr(engine.budget.making, "try_start_up", lambda _: StartUp(packages=1.0, device=0.0, late=0.0))
    use_experts(monkeypatch, {"FreeTime": 0.0, "Ex4DGS": 0.0})
    monkeypatch.setattr(engine.budget.choice, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(engine.budget.trials.experts, "seconds_a_step", lambda *_, **__: SLOW)
    monkeypatch.setattr(engine.budget.trials.mixtures, "tried_seconds", lambda *_, **__: SLOW)
    return ["auto", str(film), f"--output={tmp_path / 'out'}"]


def test_a_mixture_is_trained_pruned_and_rendered(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    arguments = [*arguments, "--budget=30min,0.1MB"]
    assert moegs.main([*arguments, "--plan"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == [
        "step",
        "trials",
        "expert",
        "expert",
        "train",
        "prune",
        "render",
        "all",
    ]
    assert 27 < float(told[-1].split()[1]) <= 29.1  # 97 % of the budget, less than an iteration of 100 s each
    assert not (tmp_path / "out").exists()

    assert moegs.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "size: planned 0.1 MB, taken 0." in printed and "PSNR at held-out cameras, dB: MoE-GS " in printed
    plan = read_plan(tmp_path / "out" / "film")
    assert plan is not None and plan.experts == ("FreeTime", "Ex4DGS") and all(step.is_done for step in plan.steps)
    check_reports(tmp_path / "out" / "film", plan)
    check_second_run(arguments, capsys)


def check_reports(folder: Path, plan) -> None:
    """What was trained has the plan's lengths, which grew while trainings took less than their trials told."""
    steps = {step.step: step for step in plan.steps}
    for key in ("freetime", "ex4dgs"):
        report = json.loads((folder / "experts" / key / "train_expert.json").read_text())
        assert report["settings"]["iterations"] == steps[f"expert_{key}"].iterations
        assert report["settings"]["density.max_gaussians"] == steps[f"expert_{key}"].gaussians
        assert report["preset"] == "fast_n3v"
    told = SLOW * EXPERTS["FreeTime"].training.slower_later  # seconds an iteration; Ex4DGS is trained before
    assert steps["expert_freetime"].told < told * steps["expert_freetime"].iterations
    pruned = json.loads((folder / "FreeTime+Ex4DGS_pruned" / "pruned.json").read_text())
    assert pruned["after"]["megabytes"]["total"] <= 0.1 < pruned["before"]["megabytes"]["total"]


def check_second_run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The same command has nothing left to do; another budget is refused."""
    assert moegs.main(arguments) == 0
    assert "started; log" not in capsys.readouterr().err
    assert moegs.main([*arguments, "--budget=0.1MB,0.5h", "--plan"]) == 0  # the same in other words
    assert moegs.main([*arguments, "--budget=31min"]) == 2
    assert "holds a plan for --budget 30min,0.1MB (auto.json): give the same" in capsys.readouterr().err


def test_a_step_that_fails_is_named_and_done_again(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Here):
        def __init__(self, job, gpu) -> None:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.write_text("error: no room\n")
            self.code = 2

    arguments = [*arguments, "--budget=5min"]
    use_experts(monkeypatch, {"FreeTime": 0.0})
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", Failing)
    assert moegs.main(arguments) == 1
    assert "failed: expert_freetime: exit code 2: error: no room; log: " in capsys.readouterr().out
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", Here)
    assert moegs.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "PSNR at held-out cameras, dB: FreeTime " in printed and "report" in printed.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--budget=20"], "--budget 20: '20' is no number with a unit"),
        ([], "missing: --budget"),
        (["--budget=8GB"], "8.0 GB is memory of a GPU, and this machine computes on its CPU: leave that part out"),
        (["--budget=1s"], "the budget is too small for any expert: "),
        (["--budget=9min", "--data_args=--iterations 3"], "--data_args holds --iterations, which the plan gives"),
        (["--budget=9min", "--data_args=-m x"], "--data_args holds -m, which this command decides itself"),
        (["--budget=9min", "--data_args=--bogus 3"], "--data_args, step expert_freetime: --bogus is not a flag"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(tmp_path: Path, arguments, flags, said, capsys) -> None:
    assert moegs.main([*arguments, *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_scene_is_prepared_before_it_is_planned(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film"
    points = (film / "known_points.npz").read_bytes()
    (film / "known_points.npz").unlink()

    class Preparing(Here):
        def __init__(self, job, gpu) -> None:
            if "prepare" not in job.words:
                super().__init__(job, gpu)
                return
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.write_text("prepared\n")
            (film / "known_points.npz").write_bytes(points)
            (film / "colmap_0" / "sparse").mkdir(parents=True)
            self.code = 0

    use_experts(monkeypatch, {"FreeTime": 0.0})
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", Preparing)
    assert moegs.main([*arguments, "--budget=5min"]) == 0
    steps = [line.split()[0] for line in capsys.readouterr().out.splitlines()[:5]]
    assert steps == ["step", "prepare", "trials", "expert", "all"]


def test_a_plan_needs_a_prepared_scene(tmp_path: Path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.mp4").touch()
    output = f"--output={tmp_path / 'out'}"
    assert moegs.main(["auto", str(tmp_path / "mine"), output, "--budget=9min", "--plan"]) == 2
    assert "a plan needs cameras and start points; first run python " in capsys.readouterr().err
