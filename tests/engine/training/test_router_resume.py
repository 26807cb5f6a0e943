"""k steps, a stop, and n - k steps give the same bits as n steps."""

from __future__ import annotations

import signal

import pytest

import engine.training.router.task
from engine.commands import train
from engine.runs.checkpoint import STATE, TENSORS
from engine.training.router.schedule import training_pairs
from tests.small_world import use_small_world, without_verdict

LAST = 21  # past two epochs of eight images
QUICK = ["--iterations", str(LAST), "--save_iterations", "9", "--test_iterations", "--featuret_lr", "0.5"]


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    return [*use_small_world(monkeypatch, tmp_path), *QUICK]


def files(folder) -> dict[str, bytes]:
    saved = folder / "router" / f"iteration_{LAST}"
    return {name: (saved / name).read_bytes() for name in (TENSORS, STATE)}


def interrupt_at(monkeypatch, step: int) -> None:
    original = engine.training.router.task.set_router_rates

    def set_router_rates(optimiser, training, iteration):
        if iteration == step:
            signal.raise_signal(signal.SIGINT)
        original(optimiser, training, iteration)

    monkeypatch.setattr(engine.training.router.task, "set_router_rates", set_router_rates)


def test_a_stopped_run_continues_to_the_same_bits(tmp_path, arguments, monkeypatch, capsys):
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'whole'}"]) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 11)
        assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'halves'}"]) == 130
    interrupted = f"warning: interrupted at iteration 11 of {LAST}: continue with --resume\n"
    assert without_verdict(capsys.readouterr().err) == interrupted
    assert (tmp_path / "halves" / "router" / "iteration_11" / STATE).is_file()
    assert train.main("E3", [f"--save_path={tmp_path / 'halves'}", "--resume", "--quiet"]) == 0
    assert files(tmp_path / "halves") == files(tmp_path / "whole")


def test_another_seed_gives_other_bits(tmp_path, arguments):
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'one'}"]) == 0
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'other'}", "--seed", "1"]) == 0
    assert files(tmp_path / "one")[TENSORS] != files(tmp_path / "other")[TENSORS]


def test_a_finished_run_has_nothing_left_and_can_be_extended(tmp_path, arguments):
    arguments = [*arguments, f"--save_path={tmp_path / 'out'}"]
    assert train.main("E3", arguments) == 0
    before = files(tmp_path / "out")
    assert train.main("E3", [*arguments, "--resume"]) == 0
    assert files(tmp_path / "out") == before
    settings = (tmp_path / "out" / "config.json").read_bytes()
    assert train.main("E3", [*arguments, "--resume", "--iterations", "10", "--lambda_gates=0"]) == 0
    assert (tmp_path / "out" / "config.json").read_bytes() == settings
    assert train.main("E3", [*arguments, "--resume", "--iterations", str(LAST + 2)]) == 0
    assert (tmp_path / "out" / "router" / f"iteration_{LAST + 2}" / STATE).is_file()


def test_resuming_nothing_starts_at_the_beginning(tmp_path, arguments):
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'out'}", "--resume"]) == 0
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'plain'}"]) == 0
    assert files(tmp_path / "out") == files(tmp_path / "plain")


def refusal(capsys, arguments) -> str:
    capsys.readouterr()
    assert train.main("E3", arguments) == 2
    return capsys.readouterr().err


def test_what_cannot_be_resumed_is_said(tmp_path, arguments, capsys):
    out, models = tmp_path / "out", tmp_path / "models"
    arguments = [*arguments, f"--save_path={out}"]
    assert train.main("E3", arguments) == 0
    assert "add --resume to continue it, --overwrite to start again" in refusal(capsys, arguments)
    assert "give --rgbfunction" in refusal(capsys, [*arguments, "--resume", "--rgbfunction", "sandwichpixel"])
    assert "resume with that run's seed" in refusal(capsys, [*arguments, "--resume", "--seed", "5"])
    (models / "4DGaussians" / "cfg_args").write_text("Namespace(bounds=2)")
    message = refusal(capsys, [*arguments, "--resume"])
    assert f"{models / '4DGaussians' / 'cfg_args'}: 4DGaussians is not the model that" in message


def test_a_damaged_newest_save_is_named(tmp_path, arguments, capsys):
    out = tmp_path / "out"
    assert train.main("E3", [*arguments, f"--save_path={out}"]) == 0
    state = out / "router" / f"iteration_{LAST}" / STATE
    state.write_bytes(state.read_bytes()[:100])
    assert f"{state}: damaged" in refusal(capsys, [*arguments, f"--save_path={out}", "--resume"])


def test_overwriting_starts_again(tmp_path, arguments):
    arguments = [*arguments, f"--save_path={tmp_path / 'out'}"]
    assert train.main("E3", arguments) == 0
    first = files(tmp_path / "out")
    (tmp_path / "out" / "router" / f"iteration_{LAST + 5}").mkdir()
    assert train.main("E3", [*arguments, "--overwrite"]) == 0
    assert files(tmp_path / "out") == first
    assert not (tmp_path / "out" / "router" / f"iteration_{LAST + 5}").exists()


def test_every_pair_is_seen_once_an_epoch_in_a_new_order():
    def take(count: int, start: int = 0):
        pairs = training_pairs((1, 2, 5), 4, seed=3, start=start)
        return [next(pairs) for _ in range(count)]

    epochs = [take(36)[start : start + 12] for start in (0, 12, 24)]
    assert all(sorted(epoch) == [(view, frame) for view in (1, 2, 5) for frame in range(4)] for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert take(20, start=7) == take(27)[7:]
