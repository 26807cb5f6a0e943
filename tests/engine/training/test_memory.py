"""A gradient that needs more memory than there is: one line, what the step held is freed, and the state is saved."""

from __future__ import annotations

import re
import weakref
from pathlib import Path

import pytest
import torch

from engine.commands import train as train_command
from engine.errors import memory_line
from engine.training.expert.saves import saved_state
from engine.training.expert.task import ExpertTask
from engine.training.loop import Schedule, train
from engine.training.router.task import RouterTask
from tests.engine.expert_scene import run, write_film
from tests.exhausted import FAULTS, PYTORCH, WHAT_TO_DO, Exhausted, errors_of
from tests.small_world import use_small_world


class Task:
    """A training of one number, whose second iteration runs out of memory, before its update or in the middle of it."""

    name = "number"

    def __init__(self, *, in_update: bool = False) -> None:
        self.number = torch.zeros(1, requires_grad=True)
        self.in_update = in_update
        self.saved: list[int] = []
        self.freed = False

    def losses(self, iteration):
        image = self.number * torch.ones(1000)
        self.held = weakref.ref(image)
        yield Exhausted.apply(image, FAULTS["allocator"] if iteration == 2 and not self.in_update else None).sum()

    def update(self, iteration):
        if iteration == 2 and self.in_update:
            raise torch.OutOfMemoryError(PYTORCH)
        return ()

    def save(self, iteration):
        self.freed = self.held() is None
        self.saved.append(iteration)

    def is_saved(self, iteration):
        return iteration in self.saved

    def is_finite(self):
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_what_the_step_held_is_freed_before_its_last_state_is_saved():
    task = Task()
    line = re.escape(f"CUDA out of memory: iteration 2 of number asks for 2.50 GiB more; {WHAT_TO_DO}")
    with pytest.raises(torch.OutOfMemoryError, match=f"^{line}$"):
        train(task, Schedule(start=0, last=3, saves=(), evaluations=()), quiet=True)
    assert task.saved == [1] and task.freed


def test_a_state_in_the_middle_of_an_update_is_not_saved():
    task = Task(in_update=True)
    with pytest.raises(torch.OutOfMemoryError, match="iteration 2 of number"):
        train(task, Schedule(start=0, last=3, saves=(), evaluations=()), quiet=True)
    assert task.saved == []


def exhausted_losses(monkeypatch: pytest.MonkeyPatch, task: type, iteration: int, fault: Exception) -> None:
    """The gradient of an iteration runs out of memory."""
    own = task.losses

    def losses(self, number):
        for loss in own(self, number):
            yield Exhausted.apply(loss, fault if number == iteration else None)

    monkeypatch.setattr(task, "losses", losses)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film"))


def table(model: Path) -> bytes:
    return (model / "point_cloud" / "iteration_4" / "point_cloud.ply").read_bytes()


@pytest.fixture(scope="module")
def whole(film) -> bytes:
    """The Gaussians of a training that nothing disturbed."""
    assert run(film, film.parent / "whole", "freetime", "--iterations=4") == 0
    return table(film.parent / "whole")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_training_of_an_expert_ends_with_one_line_and_is_resumed_exactly(
    film, whole, tmp_path, monkeypatch, capsys, fault
):
    given = ("freetime", "--iterations=4")
    with monkeypatch.context() as patch:
        exhausted_losses(patch, ExpertTask, 3, FAULTS[fault])
        assert run(film, tmp_path / "model", *given) == 2
    (told,) = errors_of(capsys.readouterr().err)
    assert "CUDA out of memory: iteration 3 of FreeTime " in told and told.endswith(WHAT_TO_DO)
    assert saved_state(tmp_path / "model")[0] == 2
    assert run(film, tmp_path / "model", *given, "--resume") == 0
    assert table(tmp_path / "model") == whole


def test_a_training_of_a_router_ends_with_one_line_and_is_resumed(tmp_path, monkeypatch, capsys):
    given = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}", "--iterations=4"]
    given += ["--test_iterations", "--test_frames=1"]
    with monkeypatch.context() as patch:
        exhausted_losses(patch, RouterTask, 3, FAULTS["runtime"])
        assert train_command.main("E3", given) == 2
    (told,) = errors_of(capsys.readouterr().err)
    assert "CUDA out of memory: iteration 3 of " in told and told.endswith(WHAT_TO_DO)
    assert (tmp_path / "out" / "router" / "iteration_2").is_dir()
    assert train_command.main("E3", [*given, "--resume"]) == 0


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                      "tried to allocate 960000 bytes. Error code 12 (Cannot allocate memory)"),
         "out of memory: this asks for 960000 bytes more; end other processes on this machine, or use smaller"),
        (MemoryError(), "out of memory: this needs more than is free; end other processes on this machine"),
        (MemoryError("Unable to allocate 3.00 GiB for an array with shape (9,)"), "this asks for 3.00 GiB more"),
        (RuntimeError("out of memory: the rasterizer asks for 1.00 GB; end other processes"), "the rasterizer asks"),
    ],
)  # fmt: skip
def test_memory_of_the_machine_is_told_too(error, line):
    assert line in memory_line(error)


def test_other_errors_are_no_lack_of_memory():
    assert memory_line(RuntimeError("the table is out of memory of man")) is None
    assert memory_line(ValueError("CUDA out of memory")) is None
