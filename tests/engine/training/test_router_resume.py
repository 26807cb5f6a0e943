"""k steps, a stop, and n - k steps give the same bits as n steps."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

import engine.training.router.task
import moegs
from engine.commands import train
from engine.runs.saved.checkpoint import STATE, TENSORS
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


def test_a_tree_that_was_moved_is_resumed_without_a_folder(tmp_path, monkeypatch, capsys):
    tree, moved = tmp_path / "tree", tmp_path / "moved"
    arguments = [*use_small_world(monkeypatch, tree), *QUICK]
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'whole'}"]) == 0
    assert train.main("E3", [*arguments, f"--save_path={tree / 'out'}", "--iterations=9"]) == 0
    tree.rename(moved)
    resume = [f"--save_path={moved / 'out'}", "--resume", f"--iterations={LAST}"]
    assert f"--emb_path {tree}: no such folder" in refusal(capsys, [*resume, "--quiet", f"--emb_path={tree}"])
    assert train.main("E3", resume) == 0
    said = capsys.readouterr().err
    assert f"the scene is read from {moved}, as {tree} is not there any more" in said
    assert f"Ex4DGS is read from {moved}/models/Ex4DGS, as its model is not in {tree}/models/Ex4DGS any more" in said
    assert files(moved / "out") == files(tmp_path / "whole")
    settings = json.loads((moved / "out" / "config.json").read_text())
    assert (settings["source_path"], settings["emb_path"]) == (str(moved), str(moved / "models" / "E-D3DGS"))


def test_an_expert_that_was_trained_again_is_resumed_as_the_copy_beside_the_run(tmp_path, monkeypatch, capsys):
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    given = use_small_world(monkeypatch, tree)
    by_name = [f"--expert={name}={tree / 'models' / name}" for name in ("Ex4DGS", "E-D3DGS")]
    words = ["train", *given[:2], *by_name, *QUICK]
    assert moegs.main([*words, f"--save_path={tree / 'out'}", "--seeds=1", "--iterations=2"]) == 0
    shutil.copytree(tree, copy)
    (tree / "models" / "Ex4DGS" / "cfg_args").write_text("Namespace(bounds=2)")
    assert moegs.main(["train", "--resume", f"--save_path={copy / 'out'}", "--seeds=1", "--iterations=3"]) == 0
    said = capsys.readouterr().err
    assert f"Ex4DGS is read from {copy}/models/Ex4DGS, as" in said and "E-D3DGS is read" not in said
    settings = json.loads((copy / "out" / "config.json").read_text())
    assert settings["expert"] == [f"Ex4DGS={copy}/models/Ex4DGS", f"E-D3DGS={tree}/models/E-D3DGS"]


def test_one_expert_that_was_moved_is_given_alone(tmp_path, monkeypatch, capsys):
    tree, moved = tmp_path / "tree", tmp_path / "moved"
    given = use_small_world(monkeypatch, tree)
    by_name = [f"--expert={name}={tree / 'models' / name}" for name in ("Ex4DGS", "E-D3DGS")]
    out = f"--save_path={tree / 'out'}"
    assert moegs.main(["train", *given[:2], *by_name, *QUICK, out, "--iterations=2"]) == 0
    (tree / "models" / "E-D3DGS").rename(moved)
    resume = ["train", "--resume", out, "--iterations=3"]
    assert moegs.main(resume) == 2
    assert "give the folder of the trained E-D3DGS model" in capsys.readouterr().err
    assert moegs.main([*resume, f"--expert=ed3dgs={moved}"]) == 0
    settings = json.loads((tree / "out" / "config.json").read_text())
    assert settings["expert"] == [f"Ex4DGS={tree}/models/Ex4DGS", f"E-D3DGS={moved}"]


def test_every_pair_is_seen_once_an_epoch_in_a_new_order():
    def take(count: int, start: int = 0):
        pairs = training_pairs((1, 2, 5), 4, seed=3, start=start)
        return [next(pairs) for _ in range(count)]

    epochs = [take(36)[start : start + 12] for start in (0, 12, 24)]
    assert all(sorted(epoch) == [(view, frame) for view in (1, 2, 5) for frame in range(4)] for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert take(20, start=7) == take(27)[7:]
