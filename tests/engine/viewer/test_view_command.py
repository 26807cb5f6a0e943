from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import engine.settings.results.view
import moegs
from common.disk.locks import only_one
from engine.commands import train
from engine.commands.view import (
    expert_files,
    first_is_saved,
    newest_expert_iteration,
    open_run,
    renewal_of,
    with_newest_expert,
    with_newest_router,
)
from engine.errors import ConfigError
from engine.runs.run import mix_view
from engine.settings.rendering.overrides import AnyOverridesConfig
from engine.settings.results.view import ViewConfig
from experts.base import CheckpointError
from tests.small_world import use_small_world
from tests.warm_python import write_stand_in

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def save_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with two saved iterations."""
    flags = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--backend=torch"]
    assert train.main("E3", [*flags, "--iterations=2", "--test_iterations", "--save_iterations", "1", "2"]) == 0
    return tmp_path / "out"


def test_a_newer_router_is_taken(save_path: Path) -> None:
    run = open_run(ViewConfig(run=save_path, iteration=1))
    assert run.iteration == 1
    files = expert_files(save_path)
    newer = with_newest_router(run, folder=save_path, files=files, eval_temperature=0.5)
    assert newer.iteration == 2 and newer.experts is run.experts and newer.router.eval_temperature == 0.5
    assert with_newest_router(newer, folder=save_path, files=files, eval_temperature=0.5) is newer
    unfinished = save_path / "router" / "iteration_3"
    unfinished.mkdir()
    assert with_newest_router(newer, folder=save_path, files=files, eval_temperature=None) is newer


def test_a_router_of_an_expert_that_was_trained_anew_is_not_shown_with_the_old_one(save_path: Path) -> None:
    run, files = open_run(ViewConfig(run=save_path, iteration=1)), expert_files(save_path)
    first = next(iter(files))
    other = files | {first: dict.fromkeys(files[first], "another hash")}
    with pytest.raises(ConfigError, match=f"{first} has other files by now, and iteration 2 is not shown; start view"):
        with_newest_router(run, folder=save_path, files=other, eval_temperature=None)


def test_another_run_in_the_folder_is_shown_or_told(save_path: Path, caplog, monkeypatch) -> None:
    """As after a second training, which may save the same iteration, or fewer."""
    config = ViewConfig(run=save_path)
    renewed, run = renewal_of(config), open_run(config)
    assert renewed(run) is run
    newest, later = save_path / "router" / "iteration_2", time.time() + 5
    os.utime(newest, (later, later))
    again = renewed(run)
    assert again is not run and again.iteration == 2 and renewed(again) is again
    shutil.move(newest, save_path / "aside")
    fewer = renewed(again)
    assert fewer.iteration == 1 and renewed(fewer) is fewer
    shutil.move(save_path / "router", save_path / "gone")
    assert renewed(fewer) is fewer
    shutil.move(save_path / "gone", save_path / "router")
    shutil.move(save_path / "aside", newest)
    monkeypatch.setattr("engine.commands.view._tables", lambda router: [id(router)])
    assert renewed(fewer) is fewer and renewed(fewer) is fewer
    assert caplog.text.count("holds a run of other experts by now, and iteration 2 is not shown") == 1


def test_the_newest_iteration_is_one_that_all_segments_have(tmp_path: Path) -> None:
    assert newest_expert_iteration(tmp_path) == -1
    for name in ("0to5/point_cloud/iteration_9", "0to5/point_cloud/iteration_30", "5to9/point_cloud/iteration_9"):
        (tmp_path / name).mkdir(parents=True)
    assert newest_expert_iteration(tmp_path) == 9


def test_a_newer_expert_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_world(monkeypatch, tmp_path)
    folder = tmp_path / "models" / "E-D3DGS"
    overrides = AnyOverridesConfig(expert=(f"E-D3DGS={folder}",), source_path=tmp_path)
    config = ViewConfig(overrides=overrides, quiet=True)
    run = open_run(config)
    assert [expert.name for expert in run.experts] == ["E-D3DGS"] and run.iteration == 2
    assert with_newest_expert(run, config=config) is run
    old = replace(run, iteration=1)
    newer = with_newest_expert(old, config=config)
    assert newer.iteration == 2 and newer.scene is old.scene and newer.experts[0] is not old.experts[0]
    assert torch.equal(mix_view(newer, 0, 1).image, mix_view(run, 0, 1).image)
    monkeypatch.setattr("engine.commands.view.open_expert", refuse)
    assert with_newest_expert(old, config=config) is old


def refuse(*_: object, **__: object) -> None:
    raise CheckpointError("half-written")


def test_a_training_that_has_saved_nothing_is_waited_for(tmp_path: Path, monkeypatch, capsys) -> None:
    folder = tmp_path / "stg"
    config = ViewConfig(overrides=AnyOverridesConfig(expert=(f"STG={folder}",), source_path=tmp_path))
    folder.mkdir()
    assert first_is_saved(config) and not capsys.readouterr().out  # nobody trains: opening it tells what is missing
    with only_one(folder, OSError()):
        looks = iter((lambda: None, lambda: (folder / "point_cloud" / "iteration_7").mkdir(parents=True)))
        monkeypatch.setattr("time.sleep", lambda seconds: next(looks)())
        assert first_is_saved(config)
        assert capsys.readouterr().out.startswith(f"waiting for the first iteration that is saved in {folder}")
        assert first_is_saved(config) and not capsys.readouterr().out


def test_a_signal_ends_the_waiting(tmp_path: Path, monkeypatch) -> None:
    config = ViewConfig(overrides=AnyOverridesConfig(expert=(f"STG={tmp_path}",), source_path=tmp_path))
    monkeypatch.setattr("time.sleep", lambda seconds: signal.raise_signal(signal.SIGTERM))
    with only_one(tmp_path, OSError()):
        assert not first_is_saved(config)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to show: give SAVE_PATH of a trained run"),
        (["--expert", "STG=docs"], "docs: does not tell the scene of its training; give the scene with --source_path"),
        (
            ["--expert", "STG=demo/experts/STG", "--expert", "Ex4DGS=demo/experts/Ex4DGS", "-s", "demo"],
            "nothing to show",
        ),
        (
            ["--expert", "STG=demo/experts/STG", "-s", "demo", "--without", "STG"],
            "--without STG: there is one expert alone; leave it out",
        ),
        (["nowhere"], "no such folder"),
        (["demo", "--port", "0"], "--port is 0: give 1 to 65535"),
        (["demo", "--width", "9"], "--width is 9: give 16 to 8192"),
        (["demo", "--budget_ms", "nan"], "--budget_ms is nan"),
    ],
)
def test_wrong_settings_are_refused(arguments: list[str], said: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    assert moegs.main(["view", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_missing_viser_is_named(monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(engine.settings.results.view, "find_spec", lambda name: None)
    assert moegs.main(["view", "demo"]) == 2
    assert "view needs the package viser: run pip install -r requirements-view.txt" in capsys.readouterr().err


SERVED = """
import os
import sys
from dataclasses import replace
from pathlib import Path
import engine.commands.view as view
from tests.small_world import small_run
view.open_run = lambda config: small_run(Path(sys.argv[1]))
view.with_newest_router = lambda run, **_: run
view.expert_files = lambda folder: {}
print(os.getpid(), flush=True)
sys.exit(view.command([sys.argv[1], "--port", "8961"], prog="moegs.py view", description="."))
"""


def test_a_signal_stops_it(tmp_path: Path) -> None:
    pytest.importorskip(
        "viser", reason="the viewer needs viser: pip install -r requirements-dev.txt -c constraints.txt"
    )
    write_stand_in(tmp_path / "python", "product")
    process = subprocess.Popen(
        [tmp_path / "python", "-c", SERVED, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    assert process.stdout is not None
    number = int(process.stdout.readline())
    assert process.stdout.readline().startswith("viewer: http://127.0.0.1:")
    assert "ssh -N -L" in process.stdout.readline()
    os.kill(number, signal.SIGTERM)  # Ctrl-C goes the same way
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "viewer stopped\n", "")
