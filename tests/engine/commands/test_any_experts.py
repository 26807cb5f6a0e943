"""`moegs.py train` and `moegs.py render`: any experts, in any order, in any number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import moegs
from engine.commands.train import main as train_script
from engine.runs.saved.loading import load_run
from router import ENSEMBLES, folder_flags
from tests.engine.expert_scene import write_film
from tests.small_world import use_small_world

ROOT = Path(__file__).resolve().parents[3]

FEW = ("--iterations", "2", "--test_iterations", "--test_frames", "1")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Flags of the small world without its experts, and each expert's folder."""
    given = use_small_world(monkeypatch, tmp_path)
    folders = {name: tmp_path / "models" / name for name in ("Ex4DGS", "E-D3DGS", "4DGaussians")}
    return [argument for argument in given if str(tmp_path / "models") not in argument], folders


def train(world, save_path, *experts: str, more: tuple[str, ...] = ()) -> int:
    shared, folders = world
    named = [f"--expert={name}={folders.get(name, name)}" for name in experts]
    return moegs.main(["train", *shared, *named, f"--save_path={save_path}", *FEW, *more])


def test_two_experts_in_another_order(world, tmp_path, capsys):
    assert train(world, tmp_path / "out", "4DGaussians", "Ex4DGS") == 0
    facts = json.loads((tmp_path / "out" / "router" / "iteration_2" / "router.json").read_text())
    assert facts["ensemble"] == "4DGaussians+Ex4DGS"
    assert [record["name"] for record in facts["experts"]] == ["4DGaussians", "Ex4DGS"]
    assert moegs.main(["render", f"--save_path={tmp_path / 'out'}", "--skip_train", "--quiet"]) == 0
    report = json.loads((tmp_path / "out" / "test" / "itrs_2" / "metrics.json").read_text())
    assert report["experts"] == ["4DGaussians", "Ex4DGS"] and "MoE" in report["means"]
    assert "4DGaussians" in capsys.readouterr().out


def test_one_kind_twice_and_keys_instead_of_names(world, tmp_path):
    shared, folders = world
    named = [f"--expert={key}={folders['E-D3DGS']}" for key in ("ed3dgs", "e-d3dgs")]
    named.append(f"--expert=Ex4DGS={folders['Ex4DGS']}")
    assert moegs.main(["train", *shared, *named, f"--save_path={tmp_path / 'out'}", *FEW]) == 0
    run = load_run(tmp_path / "out")
    assert run.ensemble.name == "E-D3DGS+E-D3DGS-2+Ex4DGS"
    assert [expert.name for expert in run.experts] == ["E-D3DGS", "E-D3DGS-2", "Ex4DGS"]


def test_experts_of_the_command_line_replace_those_of_a_file(world, tmp_path):
    assert train(world, tmp_path / "first", "4DGaussians", "Ex4DGS") == 0
    config = f"--config={tmp_path / 'first' / 'config.json'}"
    assert train(world, tmp_path / "same", more=(config,)) == 0
    assert train(world, tmp_path / "other", "E-D3DGS", "Ex4DGS", more=(config,)) == 0
    names = {name: load_run(tmp_path / name).ensemble.name for name in ("same", "other")}
    assert names == {"same": "4DGaussians+Ex4DGS", "other": "E-D3DGS+Ex4DGS"}


def test_a_run_of_a_script_is_rendered_too_and_another_script_names_this_command(world, tmp_path, capsys):
    from engine.commands import render

    assert train(world, tmp_path / "out", "4DGaussians", "Ex4DGS") == 0
    assert render.main("E3", [f"--save_path={tmp_path / 'out'}"]) == 2
    assert "a run of 4DGaussians+Ex4DGS; use moegs.py render" in capsys.readouterr().err


def test_a_moved_expert_is_found_by_name(world, tmp_path, capsys):
    assert train(world, tmp_path / "out", "4DGaussians", "Ex4DGS") == 0
    moved = world[1]["Ex4DGS"].rename(tmp_path / "moved")
    render = ["render", f"--save_path={tmp_path / 'out'}", "--skip_train", "--quiet"]
    assert moegs.main(render) == 2
    assert "the Ex4DGS model is not there any more; say where with --expert Ex4DGS=PATH" in capsys.readouterr().err
    assert moegs.main([*render, f"--expert=Ex4DGS={moved}"]) == 0
    assert moegs.main([*render, f"--expert=STG={moved}"]) == 2
    assert "NAME=PATH expected, where NAME is 4DGaussians or Ex4DGS" in capsys.readouterr().err


def test_a_moved_second_expert_of_a_kind_goes_by_its_name_in_the_run(world, tmp_path, capsys):
    shared, folders = world
    second = shutil.copytree(folders["E-D3DGS"], tmp_path / "models" / "second")
    named = [f"--expert=E-D3DGS={folder}" for folder in (folders["E-D3DGS"], second)]
    assert moegs.main(["train", *shared, *named, f"--save_path={tmp_path / 'out'}", *FEW]) == 0
    moved = second.rename(tmp_path / "moved")
    render = ["render", f"--save_path={tmp_path / 'out'}", "--skip_train", "--quiet"]
    assert moegs.main(render) == 2
    assert (
        "the E-D3DGS-2 model is not there any more; say where with --expert E-D3DGS-2=PATH" in capsys.readouterr().err
    )
    assert moegs.main([*render, f"--expert=E-D3DGS-2={moved}"]) == 0


def test_this_command_renders_the_runs_of_scripts_and_names_its_own_flag(world, tmp_path, capsys):
    shared, folders = world
    flags = [f"--{flag}={folders[name]}" for name, flag in folder_flags(ENSEMBLES["E3"]).items()]
    assert train_script("E3", [*shared, *flags, f"--save_path={tmp_path / 'out'}", *FEW]) == 0
    moved = folders["4DGaussians"].rename(tmp_path / "moved")
    render = ["render", f"--save_path={tmp_path / 'out'}", "--skip_train", "--quiet"]
    assert moegs.main(render) == 2
    assert "say where with --expert 4DGaussians=PATH" in capsys.readouterr().err
    twice = [f"--expert=4DGaussians={moved}", f"--expert=4dgaussians={moved}"]
    assert moegs.main([*render, *twice]) == 2
    assert "--expert is given twice for 4DGaussians; give it once" in capsys.readouterr().err
    assert moegs.main([*render, twice[1]]) == 0
    assert moegs.main(["verify", str(tmp_path / "out"), "--quiet", "--frames=1", twice[1]]) == 0


def test_a_folder_of_another_expert_is_told_with_the_flag_of_the_command(tmp_path, capsys):
    film = write_film(tmp_path)
    stg, save_path = ROOT / "demo" / "experts" / "STG", tmp_path / "out"
    given = [f"--source_path={film}", f"--save_path={save_path}", f"--expert=Ex4DGS={stg}", f"--expert=STG={stg}"]
    assert moegs.main(["train", *given, "--device=cpu"]) == 2
    assert "looks like STG, Ex4DGS expected; give it to --expert STG=PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        ((), f"missing: --expert (a trained expert); see python {ROOT / 'moegs.py'} train --help"),
        (("Ex4DGS",), "--expert is given 1 times: a blend needs 2 or more"),
        (("Ex4DG", "E-D3DGS"), "--expert Ex4DG: no expert has this name; did you mean Ex4DGS?"),
        (("Ex4DGS", "STG"), "--expert STG=STG: no such folder; give the folder of the trained STG model"),
    ],
)
def test_mistakes_are_told_in_one_line(world, tmp_path, monkeypatch, capsys, experts, message):
    monkeypatch.chdir(tmp_path)
    assert train(world, tmp_path / "out", *experts) == 2
    shown = capsys.readouterr().err
    assert message.replace("STG=STG", f"STG={tmp_path / 'STG'}") in shown and shown.count("\n") == 1
    assert not (tmp_path / "out").exists()
