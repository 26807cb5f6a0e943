"""--overwrite sets the results of the earlier run aside, and touches nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import moegs
from engine.commands import train
from engine.runs.saved.loading import load_run
from engine.training.expert import old_training
from engine.training.expert.task import ExpertTask
from experts import EXPERTS
from experts.recognition import model_folder
from tests.engine.expert_scene import run as train_expert
from tests.engine.expert_scene import write_film
from tests.small_world import NAMES, use_small_world

QUICK = ("--iterations", "2", "--save_iterations", "1", "--test_iterations", "2", "--test_frames", "1")
KEPT = ("notes.txt", "test/mine.txt", "cache/cam00.npy", "experts/stg/mine/point_cloud.ply", "router/readme")


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    return [*use_small_world(monkeypatch, tmp_path), *QUICK, f"--save_path={tmp_path / 'out'}"]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def write_kept(out: Path) -> None:
    for name in KEPT:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)


def rendered(out: Path) -> None:
    assert moegs.main(["render", f"--save_path={out}", "--quiet", "--save_img", "--constant_frames=0"]) == 0
    assert moegs.main(["render", f"--save_path={out}", "--quiet", "--y_offset=0.1"]) == 0


def test_every_result_of_the_earlier_run_is_set_aside(tmp_path, arguments, capsys):
    out = tmp_path / "out"
    assert train.main("E3", [*arguments, "--bundle"]) == 0
    rendered(out)
    before = files(out)
    assert {"mean_metrics.json", "config.json", "test/itrs_2/metrics.json", "train/itrs_2/metrics.json"} <= before
    assert any(name.startswith("test/itrs_2_y_offset_0.1/videos/") for name in before)
    assert any(name.startswith("experts/E-D3DGS/E-D3DGS/") for name in before)
    write_kept(out)
    capsys.readouterr()
    assert train.main("E3", [argument for argument in arguments if argument != "--quiet"] + ["--overwrite"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "moved" in line]
    assert line.startswith(f"moved the earlier run to {out / 'old-1'} (2 checkpoints and ")
    after = files(out)
    assert {name.removeprefix("old-1/") for name in after if name.startswith("old-1/")} == before
    assert after - {f"old-1/{name}" for name in before} == {
        *KEPT,
        "config.json",
        "training.csv",
        *(name for name in before if name.startswith("router/")),
        *(name for name in before if re.match(r"test/itrs_2/(metrics\.json|mean_metrics|videos)", name)),
    }
    assert train.main("E3", [*arguments, "--overwrite"]) == 0
    assert (out / "old-2" / "router" / "iteration_2" / "router.json").is_file()
    assert {name for name in files(out) if name.startswith("old-1/")} == {f"old-1/{name}" for name in before}


def test_a_refused_command_moves_nothing(tmp_path, arguments, capsys):
    out = tmp_path / "out"
    assert train.main("E3", arguments) == 0
    before = {name: (out / name).read_bytes() for name in files(out)}
    for wrong in (["--device=cuda"], ["--iterations=0"], [f"--config={tmp_path / 'none.json'}"]):
        assert train.main("E3", [*arguments, "--overwrite", *wrong]) == 2, capsys.readouterr().err
    assert {name: (out / name).read_bytes() for name in files(out)} == before


def test_experts_that_are_read_from_the_runs_own_bundle_stay(tmp_path, arguments):
    out = tmp_path / "out"
    assert train.main("E3", [*arguments, "--bundle"]) == 0
    bundle = out / "experts" / NAMES[0] / NAMES[0]
    own = [f"--model_path={bundle}" if argument.startswith("--model_path=") else argument for argument in arguments]
    assert train.main("E3", [*own, "--overwrite"]) == 0
    assert bundle.is_dir() and not (out / "experts" / NAMES[1] / NAMES[1]).exists()
    assert (out / "old-1" / "experts" / NAMES[1] / NAMES[1]).is_dir()
    assert load_run(out).iteration == 2


def test_an_exported_copy_of_the_run_is_set_aside(tmp_path, arguments):
    out = tmp_path / "out"
    assert train.main("E3", arguments) == 0
    for name, owner in (("exported", out), ("foreign", tmp_path / "another")):
        (out / name).mkdir()
        (out / name / "cfg_args").write_text(f"Namespace(save_path={str(owner)!r})")
    assert train.main("E3", [*arguments, "--overwrite"]) == 0
    assert (out / "old-1" / "exported" / "cfg_args").is_file() and not (out / "exported").exists()
    assert (out / "foreign" / "cfg_args").is_file()


def test_an_experts_training_is_set_aside(tmp_path):
    film, model = write_film(tmp_path), tmp_path / "model"
    quick = ("--iterations=4", "--test_iterations=2")
    assert train_expert(film, model, "4dgaussians", *quick) == 0
    before = files(model)
    for name in ("notes.txt", "point_cloud/mine.ply", "test/mine.txt", "training/mine.txt"):
        (model / name).write_text("mine")
    kept = files(model) - before
    assert train_expert(film, model, "4dgaussians", *quick, "--overwrite", "--segment=1") == 2  # refused: nothing moves
    assert files(model) == before | kept
    assert train_expert(film, model, "4dgaussians", *quick, "--iterations=3", "--overwrite") == 0
    after = files(model)
    state = {"training/iteration_4.pt"}
    assert {name for name in after if name.startswith("old-1/")} == {f"old-1/{name}" for name in before - state}
    assert kept <= after and not state & after
    assert "point_cloud/iteration_4/point_cloud.ply" not in after
    assert "point_cloud/iteration_3/point_cloud.ply" in after
    settings = json.loads((model / "old-1" / "train_expert_config.json").read_text())
    assert settings["iterations"] == 4


def test_an_old_training_is_no_model_of_the_folder(tmp_path):
    film, models = write_film(tmp_path), tmp_path / "models"
    assert train_expert(film, models / "old-1", "4dgaussians", "--iterations=1") == 0
    assert train_expert(film, models / "new", "4dgaussians", "--iterations=1") == 0
    assert model_folder(models, None, experts=EXPERTS.values()) == models / "new"


def test_segments_are_set_aside_each_in_its_folder(tmp_path):
    film, model = write_film(tmp_path), tmp_path / "model"
    quick = ("--iterations=1", "--segments=3")
    assert train_expert(film, model, "stg", *quick) == 0
    folders = sorted(path.parent for path in model.glob("*/train_expert.json"))
    assert len(folders) == 2
    assert train_expert(film, model, "stg", *quick, "--segment=2", "--overwrite") == 0
    assert not (folders[0] / "old-1").exists()
    assert (folders[1] / "old-1" / "point_cloud" / "iteration_1" / "point_cloud.ply").is_file()
    assert train_expert(film, model, "stg", *quick, "--overwrite") == 0
    assert (folders[0] / "old-1").is_dir() and (folders[1] / "old-2").is_dir()
    assert not (model / "old-1").exists()


@pytest.mark.parametrize("cut", [("--segments=3",), ("--windows=3", "--overlap=1")])
def test_resume_after_a_kill_mixes_no_old_models_with_new_ones(cut, tmp_path, monkeypatch):
    """The second training stops in its first model: what it had not reached is trained as well, with its seed."""

    def stopped(task, iteration):
        raise ZeroDivisionError

    film, model = write_film(tmp_path), tmp_path / "model"
    quick = ("--iterations=2", *cut)
    assert train_expert(film, model, "stg", *quick) == 0
    reports = sorted(model.glob("*/train_expert.json"))
    with monkeypatch.context() as patch:
        patch.setattr(ExpertTask, "update", stopped)
        with pytest.raises(ZeroDivisionError):
            train_expert(film, model, "stg", *quick, "--seed=5", "--overwrite")
    assert len(reports) > 1 and not any(report.is_file() for report in reports)
    assert len(list(model.glob("*/old-1/train_expert.json"))) == len(reports)
    assert not list(model.rglob("*.pt")) and not list(model.rglob(".saving_*"))
    assert moegs.main(["train-expert", "stg", "--resume", f"--model_path={model}"]) == 0
    assert [json.loads(report.read_text())["seed"] for report in reports] == [5] * len(reports)


def test_states_are_back_where_a_later_model_cannot_be_moved(tmp_path, monkeypatch):
    model = tmp_path / "model"
    states = [model / name / "training" / "iteration_2.pt" for name in ("first", "second")]
    for state in states:
        state.parent.mkdir(parents=True)
        state.write_text(state.parent.parent.name)

    def move(folder, entries):
        assert not list(model.glob("*/training/*.pt"))  # no old model counts as finished once the first one moves
        if folder.name == "second":
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(old_training, "set_aside", move)
    with pytest.raises(PermissionError):
        old_training.set_trainings_aside([state.parent.parent for state in states])
    assert [state.read_text() for state in states] == ["first", "second"]
    assert not list(model.rglob(".saving_*"))
