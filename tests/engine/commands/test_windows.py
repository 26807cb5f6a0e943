"""A long clip on the command line: windows are trained one by one, blended, scored, and their seams measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import engine.commands.distill
import engine.commands.train_expert
import moegs
from engine.commands import render, train
from engine.compression.scores import run_scores
from engine.runs.saved.loading import load_run
from experts import LoadOptions, load_expert
from experts.rows import block_sizes
from experts.windows.model import WindowedExpert
from router.pruning import SCORES
from tests.engine.expert_scene import FRAMES, run, write_film

WINDOWS = ("--windows=3", "--overlap=1")  # of 6 frames
NAMES = {"window_0-2", "window_2-3", "window_3-5"}


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_film(tmp_path_factory.mktemp("scene"))


def windows_of(model: Path) -> set[str]:
    return {path.name for path in model.iterdir() if path.is_dir()}


@pytest.fixture(scope="module")
def model(film, tmp_path_factory) -> Path:
    """An STG of windows, the second of which was trained first, and by itself."""
    folder = tmp_path_factory.mktemp("models") / "stg"
    assert run(film, folder, "stg", *WINDOWS, "--window=2") == 0
    assert windows_of(folder) == {"window_2-3"}
    before = (folder / "window_2-3" / "training" / "iteration_30.pt").stat().st_mtime_ns
    assert run(film, folder, "stg", *WINDOWS, "--resume") == 0
    assert windows_of(folder) == NAMES
    assert (folder / "window_2-3" / "training" / "iteration_30.pt").stat().st_mtime_ns == before
    return folder


def test_each_window_is_trained_on_its_own_frames(model):
    expert = load_expert("STG", model, LoadOptions(num_frames=FRAMES))
    assert isinstance(expert, WindowedExpert)
    assert [(window.first, window.last) for window in expert.windows] == [(0, 2), (2, 3), (3, 5)]
    facts = [json.loads((model / name / "train_expert.json").read_text())["settings"] for name in sorted(NAMES)]
    assert [(each["first frame"], each["frames"]) for each in facts] == [(0, 3), (2, 2), (3, 3)]


def test_a_mixture_of_windows_is_trained_rendered_and_its_seams_are_measured(
    film, model, tmp_path, capsys, monkeypatch
):
    """Beside an expert of the whole clip."""
    assert run(film, tmp_path / "freetime", "freetime") == 0
    shared = [f"--save_path={tmp_path / 'run'}", f"--cache_path={film.parent / 'cache'}"]
    experts = [f"--expert=stg={model}", f"--expert=freetime={tmp_path / 'freetime'}"]
    given = [f"--source_path={film}", *shared, *experts, "--iterations=4", "--device=cpu", "--quiet"]
    assert train.command(given, prog="moegs.py train", description="") == 0
    given = [*shared, "--skip_train", "--device=cpu", "--quiet"]
    assert render.command(given, prog="moegs.py render", description="") == 0
    seams = json.loads((tmp_path / "run" / "test" / "itrs_4" / "metrics.json").read_text())["seams"]
    assert seams["frames"]["at_seams"] == 3  # 2, 3 and 4
    assert {"MoE", "STG", "FreeTime"} <= seams["methods"].keys()
    assert abs(seams["lost"]) < 3
    check_distil(tmp_path, capsys, monkeypatch)
    check_prune(tmp_path / "run", tmp_path / "pruned", capsys)


def check_prune(run, out, capsys):
    """Each window is ranked at frames of its own, though few are asked for, and where two are shown."""
    whole = load_run(run, overrides={"device": "cpu"})
    sizes = block_sizes(whole.experts[0])
    assert len(sizes) == 3
    for kind in SCORES:
        for frames in (1, FRAMES):
            scores = run_scores(whole, kind, frames=frames, progress=False)
            assert [len(score) for score in scores] == [each.num_gaussians for each in whole.experts]
            assert all(bool((score > 0).any()) for score in scores[0].split(sizes)), (kind, frames)
    few = ["--ratio=0.5", "--scope=expert", "--score=gate", "--score_frames=1", "--iterations=0", "--device=cpu"]
    assert moegs.main(["prune", str(run), f"--out={out}", *few]) == 0
    assert "Gaussians are ranked at 5 frames, not 1: every segment or window has 2" in capsys.readouterr().err
    assert min(block_sizes(load_run(out, overrides={"device": "cpu"}).experts[0])) > 1


def check_distil(folder, capsys, monkeypatch):
    """An expert of windows is refused before a frame is decoded."""

    def decoded(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(engine.commands.distill, "decode", decoded)
    words = [f"{folder / 'run'}", "--expert=STG", f"--out={folder / 'distilled'}", "--device=cpu"]
    assert moegs.main(["distill", *words]) != 0
    assert "STG is of windows, which cannot be trained further together" in capsys.readouterr().err


def test_a_finished_window_makes_no_start_points_again(film, model, monkeypatch):
    asked = []
    first = engine.commands.train_expert.check_expert_task

    def check(config, spec, output, **options):
        asked.append(output.folder.name)
        return first(config, spec, output, **options)

    monkeypatch.setattr(engine.commands.train_expert, "check_expert_task", check)
    assert run(film, model, "stg", *WINDOWS, "--resume") == 0
    assert not asked
    assert run(film, model, "stg", *WINDOWS, "--resume", "--dssim=0.3") != 0  # other settings are refused as ever
    assert asked == [min(NAMES)]
    report = model / "window_2-3" / "train_expert.json"
    asked.clear()
    kept = report.rename(report.with_suffix(".kept"))
    assert run(film, model, "stg", *WINDOWS, "--resume") == 0  # as if a kill had come before its report
    assert asked == ["window_2-3"] and report.is_file()
    kept.unlink()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--windows=3", "--overlap=0"], r"holds window_2-3, this training makes window_0-2"),
        (["--segments=0"], r"holds window_0-2, and this training makes no windows"),
        ([*WINDOWS, "--window=4"], r"--window 4: the clip has 3 windows of at most 3 frames; give 1 to 3"),
        (["--window=1"], r"--window needs --windows"),
        (["--overlap=1"], r"--overlap needs --windows"),
        (["--windows=5", "--overlap=2"], r"--windows is 5 and --overlap 2: .*give --windows 6 or more"),
        (["--windows=-1"], r"--windows is -1: give a number of frames, or 0 for none"),
        ([*WINDOWS, "--segment=1"], r"--segment goes with --segments, not with --windows; give --window"),
    ],
)
def test_words_that_do_not_fit_are_refused(film, model, capsys, words, fault):
    assert run(film, model, "stg", "--overwrite", *words) != 0
    assert re.search(fault, capsys.readouterr().err), fault
    assert windows_of(model) == NAMES
