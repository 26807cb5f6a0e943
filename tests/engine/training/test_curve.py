from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import engine.training.tensorboard
from engine.commands import train
from engine.reporting.pages.expert_page import expert_page
from engine.training.curve import CURVE_FILE, TrainingCurve, points_of, read_curve
from engine.training.expert.task import ExpertTask
from engine.training.progress import Reading
from engine.training.tensorboard import EventWriter
from tests.engine.expert_scene import run, write_film
from tests.small_world import use_small_world

KNOWN = {"gaussians": 7, "rates": {"static": 0.5}}


def readings(first: int, last: int) -> list[Reading]:
    return [Reading(iteration=number, loss=number / 100, psnr=20.0 + number) for number in range(first, last + 1)]


def iterations(folder: Path) -> list[float]:
    return [row["iteration"] for row in read_curve(folder / CURVE_FILE)]


def test_a_curve_has_means_of_ten_iterations_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    curve = TrainingCurve(tmp_path, start=0, every=10)
    curve.add(readings(1, 10), seconds=2.5, **KNOWN)
    curve.add(readings(11, 25), seconds=5.0, **KNOWN)
    rows = read_curve(tmp_path / CURVE_FILE)
    first = {"iteration": 10, "loss": 0.055, "psnr": 25.5, "seconds": 2.5, "gaussians": 7, "lr_static": 0.5}
    assert rows[0] == first
    assert [row["iteration"] for row in rows] == [10, 20]
    TrainingCurve(tmp_path, start=15, every=10).add(readings(16, 30), seconds=9.0, **KNOWN)
    rows = read_curve(tmp_path / CURVE_FILE)
    assert [row["iteration"] for row in rows] == [10, 20, 30]
    assert rows[0] == first and rows[1]["loss"] == pytest.approx(0.18) and rows[1]["seconds"] == 9.0
    TrainingCurve(tmp_path, start=0, every=10).add(readings(1, 10), seconds=1.0, **KNOWN)
    assert [row["seconds"] for row in read_curve(tmp_path / CURVE_FILE)] == [1.0]
    assert read_curve(tmp_path / "none.csv") == []


def test_the_last_iteration_always_has_a_line(tmp_path: Path) -> None:
    curve = TrainingCurve(tmp_path, start=0, every=10, last=12)
    curve.add(readings(1, 12), seconds=2.5, **KNOWN)
    assert iterations(tmp_path) == [10, 12]
    assert read_curve(tmp_path / CURVE_FILE)[-1]["loss"] == pytest.approx(0.115)


def test_a_training_of_one_iteration_has_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--test_iterations"]
    assert train.main("E3", [*flags, "--iterations=1"]) == 0
    assert iterations(tmp_path / "out") == [1]


def test_a_score_joins_the_line_of_its_iteration(tmp_path: Path) -> None:
    curve = TrainingCurve(tmp_path, start=0)
    for iteration in (20, 40):
        curve.add(readings(iteration, iteration), seconds=1.0, **KNOWN)
        curve.add_score(iteration, 30.0 + iteration)
    curve.add_score(50, 33.0)
    rows = read_curve(tmp_path / CURVE_FILE)
    assert points_of(rows, "test_psnr") == [(20, 50.0), (40, 70.0), (50, 33.0)]
    assert points_of(rows, "loss") == [(20, 0.2), (40, 0.4)]
    again = TrainingCurve(tmp_path, start=40)  # resumed at 40, with the score of 50 still to come
    again.add_score(40, 71.0)
    assert iterations(tmp_path) == [20, 40] and read_curve(tmp_path / CURVE_FILE)[-1]["test_psnr"] == 71.0


def test_learning_rates_that_begin_later_get_a_column(tmp_path: Path) -> None:
    curve = TrainingCurve(tmp_path, start=0)
    curve.add(readings(1, 1), seconds=1.0, gaussians=5, rates={"means": 0.1})
    curve.add(readings(2, 2), seconds=2.0, gaussians=6, rates={"means": 0.1, "net": 0.01})
    curve.add(readings(3, 3), seconds=3.0, gaussians=6, rates={"means": 0.1})
    rows = read_curve(tmp_path / CURVE_FILE)
    assert points_of(rows, "lr_net") == [(2, 0.01)] and len(points_of(rows, "lr_means")) == 3


def test_a_line_that_was_cut_off_is_no_row(tmp_path: Path) -> None:
    TrainingCurve(tmp_path, start=0).add(readings(1, 2), seconds=1.0, **KNOWN)
    path = tmp_path / CURVE_FILE
    path.write_text(path.read_text()[:-20])
    assert iterations(tmp_path) == [1]


def test_an_expert_leaves_its_curve_and_goes_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, model = write_film(tmp_path), tmp_path / "model"
    real = ExpertTask.evaluate

    def interrupts(task: ExpertTask, iteration: int) -> None:
        real(task, iteration)
        if iteration == 25:
            monkeypatch.setattr(ExpertTask, "evaluate", real)
            task.curve.add(readings(26, 27), seconds=9.0, gaussians=1, rates={})  # never saved
            raise KeyboardInterrupt

    monkeypatch.setattr(ExpertTask, "evaluate", interrupts)
    assert run(film, model, "stg", "--test_iterations", "20", "25") == 130
    assert iterations(model) == [20, 25, 26, 27]
    assert run(film, model, "stg", "--resume") == 0
    assert iterations(model) == [20, 25, 30]
    rows = read_curve(model / CURVE_FILE)
    assert [x for x, _ in points_of(rows, "test_psnr")] == [20, 25, 30]
    assert [x for x, _ in points_of(rows, "loss")] == [20, 30]
    count = json.loads((model / "train_expert.json").read_text())["gaussians"]
    assert rows[-1]["gaussians"] == count and rows[-1]["seconds"] > rows[0]["seconds"] > 0
    assert rows[0]["lr_segments.0.means"] > rows[-1]["lr_segments.0.means"] > 0
    page = expert_page(model)
    assert all(label in page for label in ("training loss", "held-out PSNR, dB", "learning rate, log10"))


class Scalars:
    """Stands in for TensorBoard's SummaryWriter."""

    written: list[tuple[str, str, float, int]]

    def __init__(self, folder: str, *, purge_step: int | None) -> None:
        self.folder = folder
        self.written.append((folder, "purge", 0.0, -1 if purge_step is None else purge_step))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.written.append((self.folder, name, value, step))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float, int]]:
    """What goes to TensorBoard, whether it is installed or not."""
    monkeypatch.setattr(Scalars, "written", [], raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Scalars))
    monkeypatch.setattr(engine.training.tensorboard, "find_spec", lambda name: object())
    return Scalars.written


def test_tensorboard_gets_the_numbers_of_the_curve(tmp_path: Path, monkeypatch, written) -> None:
    flags = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--backend=torch"]
    assert train.main("E3", [*flags, "--iterations=10", "--test_frames=1", "--tensorboard"]) == 0
    assert {folder for folder, *_ in written} == {str(tmp_path / "out" / "tensorboard")}
    names = {name: step for _, name, _, step in written}
    curve = dict.fromkeys(("loss", "psnr", "gaussians", "test_psnr", "lr_static", "lr_temporal", "lr_head"), 10)
    assert names == curve | {"purge": 1}


def test_events_after_a_resume_replace_later_ones_once(tmp_path: Path, written) -> None:
    events = EventWriter(tmp_path, start=40)
    events.add({"loss": 0.5}, 60)
    events.close()
    events.add({"loss": 0.4}, 80)
    assert [step for _, name, _, step in written if name == "purge"] == [41, -1]


def test_a_missing_tensorboard_is_named_before_anything_is_written(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(engine.training.tensorboard, "find_spec", lambda name: None)
    flags = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}"]
    assert train.main("E3", [*flags, "--tensorboard"]) == 2
    assert "run pip install -r requirements-tensorboard.txt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
