"""--deterministic: PyTorch refuses what may differ, and two trainings have the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import engine.training.expert.task
import engine.training.router.task
from engine.commands import render, train
from engine.runs.saved.checkpoint import STATE, TENSORS
from engine.settings.parsing.command_line import exit_code
from tests.engine.expert_scene import reloaded, run, write_film
from tests.small_world import use_small_world


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def watched(monkeypatch: pytest.MonkeyPatch, owner: type) -> list[bool]:
    """For each update of a training, whether PyTorch was deterministic."""
    seen: list[bool] = []
    original = owner.update

    def update(self: object, iteration: int) -> object:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return original(self, iteration)

    monkeypatch.setattr(owner, "update", update)
    return seen


def test_two_trainings_of_a_router_are_equal_and_so_are_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(monkeypatch, engine.training.router.task.RouterTask)
    given = [*use_small_world(monkeypatch, tmp_path), "--iterations=2", "--test_iterations", "--deterministic"]
    for name in ("one", "other"):
        assert train.main("E3", [*given, f"--save_path={tmp_path / name}"]) == 0
        torch.use_deterministic_algorithms(False)
        assert render.main("E3", ["--quiet", f"--save_path={tmp_path / name}", "--save_img", "--skip_train"]) == 0
        assert torch.are_deterministic_algorithms_enabled()  # as in training
    assert seen == [True] * 4
    one, other = tmp_path / "one", tmp_path / "other"
    for file in (*(f"router/iteration_2/{name}" for name in (TENSORS, STATE)), *images(one)):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    assert images(one) == images(other) != []


def images(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("test/**/*.png"))


def test_two_trainings_of_an_expert_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(monkeypatch, engine.training.expert.task.ExpertTask)
    film = write_film(tmp_path)
    for name in ("one", "other"):
        assert run(film, tmp_path / name, "4dgaussians", "--iterations=4", "--deterministic") == 0
    assert seen == [True] * 8
    one, other = (reloaded("4dgaussians", tmp_path / name) for name in ("one", "other"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_it_is_off_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [*use_small_world(monkeypatch, tmp_path), "--iterations=1", "--test_iterations"]
    assert train.main("E3", [*given, f"--save_path={tmp_path / 'out'}"]) == 0
    assert not torch.are_deterministic_algorithms_enabled()
    assert render.main("E3", ["--quiet", f"--save_path={tmp_path / 'out'}", "--skip_train", "--deterministic"]) == 0
    assert torch.are_deterministic_algorithms_enabled()


def test_an_operation_that_may_differ_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    torch.use_deterministic_algorithms(True)
    with exit_code([]) as code:
        torch.nn.functional.max_unpool2d(torch.ones(1, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64), 2)
    assert code.value == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "error: max_unpooling2d_forward_out of PyTorch may give other bits on this device: leave out"
    )
    with pytest.raises(RuntimeError, match="shape"), exit_code([]):
        torch.ones(2) @ torch.ones(3, 3)
