"""--keep_checkpoints: the newest saves and the best one stay, those of others too."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.commands import train
from engine.runs.saved.checkpoint import saved_iterations
from engine.training.curve import CURVE_FILE
from engine.training.expert.saves import saved_experts
from engine.training.retention import drop_older
from tests.engine.expert_scene import run, write_film
from tests.small_world import use_small_world


def saves(folder: Path, *iterations: int) -> dict[int, Path]:
    """Folders of saves below a training's, and a curve with scores that fall after iteration 2."""
    for iteration in iterations:
        (folder / f"iteration_{iteration}").mkdir()
    scores = "".join(f"{iteration},{30 - abs(iteration - 2)}\n" for iteration in (1, 2, 3))
    (folder / CURVE_FILE).write_text(f"iteration,test_psnr\n{scores}")
    return {iteration: folder / f"iteration_{iteration}" for iteration in iterations}


@pytest.mark.parametrize(
    ("keep", "newest", "left"),
    [
        (None, 6, [1, 2, 3, 4, 5, 6]),
        (1, 6, [2, 6]),
        (2, 6, [2, 5, 6]),
        (9, 6, [1, 2, 3, 4, 5, 6]),
        (1, 3, [2, 3, 4, 5, 6]),  # later ones are not older
        (1, 2, [1, 2, 3, 4, 5, 6]),  # the newest is the best: of those before it the best stays
    ],
)
def test_the_newest_and_the_best_stay(tmp_path: Path, keep: int | None, newest: int, left: list[int]) -> None:
    folders = saves(tmp_path, 1, 2, 3, 4, 5, 6)
    drop_older(tmp_path, folders, newest=newest, keep=keep)
    assert [iteration for iteration, folder in folders.items() if folder.exists()] == left
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"iteration_{i}" for i in left), CURVE_FILE]


def test_saves_without_a_score_go_by_age(tmp_path: Path) -> None:
    folders = saves(tmp_path, 4, 5, 6)
    drop_older(tmp_path, folders, newest=6, keep=1)
    assert [iteration for iteration, folder in folders.items() if folder.exists()] == [6]


def test_a_router_keeps_the_newest_and_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--test_frames=1"]
    given += ["--iterations=4", "--save_iterations", "1", "2", "3", "--test_iterations", "1"]
    assert train.main("E3", given) == 0
    assert saved_iterations(tmp_path / "out") == (1, 2, 3, 4)
    # As after a kill between the last save and the removal: the training is done, the older saves are still there.
    assert train.main("E3", [*given, "--resume", "--keep_checkpoints=2"]) == 0
    assert saved_iterations(tmp_path / "out") == (1, 3, 4)
    assert train.main("E3", [*given, "--resume", "--iterations=5", "--keep_checkpoints=1"]) == 0
    assert saved_iterations(tmp_path / "out") == (1, 5)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".saving_")]


def test_an_expert_keeps_its_own_newest_and_those_of_others(tmp_path: Path) -> None:
    film, model = write_film(tmp_path), tmp_path / "model"
    foreign = model / "point_cloud" / "iteration_2"
    foreign.mkdir(parents=True)
    given = ("--iterations=4", "--save_iterations", "1", "3", "--keep_checkpoints=1", "--resume")
    assert run(film, model, "stg", *given) == 0
    assert sorted(saved_experts(model)) == [2, 4]
    assert saved_experts(model)[2] == foreign


@pytest.mark.parametrize("command", ["router", "expert"])
def test_less_than_one_save_is_refused(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "router":
        given = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}"]
        assert train.main("E3", [*given, "--keep_checkpoints=0"]) == 2
    else:
        assert run(write_film(tmp_path), tmp_path / "model", "stg", "--keep_checkpoints=0") == 2
    assert capsys.readouterr().err == "error: --keep_checkpoints is 0: give 1 or more\n"
