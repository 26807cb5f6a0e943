"""A run goes to the layout of the paper's code and comes back as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import moegs
from common.disk.locks import only_one
from engine.commands import export, train
from engine.runs.run import mix_view
from engine.runs.saved.loading import load_run
from experts import EXPERTS
from experts.formats.cfg_args import read_cfg_args
from experts.formats.ply import read_ply
from router import ENSEMBLES
from tests.engine.expert_scene import run as train_expert
from tests.engine.expert_scene import write_film

ROUTING = ("f_t_0", "w_b_0", "w_b_1")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A film, four experts trained for two iterations, STG in two segments, and the run of a router of all of them."""
    root = tmp_path_factory.mktemp("exchange")
    film = write_film(root)
    flags = []
    for spec in (EXPERTS[name] for name in ENSEMBLES["E4"].experts):
        segments = () if spec.segments is None else ("--segments=4",)
        assert train_expert(film, root / "models" / spec.name, spec.key, "--iterations=2", *segments) == 0
        flags.append(f"--{spec.flag}={root / 'models' / spec.name}")
    shared = [f"--source_path={film}", f"--cache_path={root / 'cache'}", "--quiet", "--device=cpu"]
    few = ["--iterations=3", "--test_iterations", "--temperature=0.7", "--featuret_lr=0.5"]
    assert train.main("E4", [*shared, *flags, *few, f"--save_path={root / 'run'}"]) == 0
    assert moegs.main(["export", str(root / "run"), f"--out={root / 'upstream'}", "--quiet"]) == 0
    return root


def test_the_columns_are_those_of_the_released_code(world):
    model = "point_cloud/iteration_3"
    folder = world / "upstream"
    assert read_ply(folder / "Ex4DGS" / model / "point_cloud.ply").names[-6:] == (
        *("xyz_disp_0", "xyz_disp_1", "xyz_disp_2"),
        *ROUTING,
    )
    dynamic = read_ply(folder / "Ex4DGS" / model / "dynamic_point_cloud.ply").names
    assert dynamic[-3:] == tuple(f"motion_{name}" for name in ROUTING)
    assert read_ply(folder / "E-D3DGS" / model / "point_cloud.ply").names[-4:] == ("embedding_31", *ROUTING)
    assert read_ply(folder / "4DGaussians" / model / "point_cloud.ply").names[-4:] == ("rot_3", *ROUTING)
    for frames in ("0to3", "4to5"):
        assert read_ply(folder / "STG" / frames / model / "point_cloud.ply").names[-4:] == ("omega_3", *ROUTING)
    head = torch.load(folder / "Ex4DGS" / model / "point_cloud.pt", weights_only=True)
    assert {name: tuple(value.shape) for name, value in head.items()} == {
        "mlp1.weight": (6, 8, 1, 1),
        "mlp2.weight": (3, 6, 1, 1),
        "mlp3.weight": (1, 3, 1, 1),
    }
    settings = read_cfg_args(folder)
    assert (settings["duration"], settings["temperature"], settings["rgbfunction"]) == (6, 0.7, "sandwichlite")


def test_an_exported_run_comes_back_as_it_was(world, tmp_path):
    back = tmp_path / "back"
    assert moegs.main(["import", str(world / "upstream"), f"--save_path={back}", "--quiet"]) == 0
    ours, theirs = (load_file(path / "router/iteration_3/router.safetensors") for path in (world / "run", back))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    first, second = (load_run(path, overrides={"device": "cpu"}) for path in (world / "run", back))
    assert (second.ensemble, second.iteration) == (ENSEMBLES["E4"], 3)
    assert (second.router.temperature, second.router.eval_temperature) == (0.7, 0.7)
    for frame in (0, 5):
        assert torch.equal(mix_view(first, 0, frame).image, mix_view(second, 0, frame).image)


def test_what_the_released_code_wrote_has_its_temperatures(world, tmp_path):
    folder = shutil.copytree(world / "upstream", tmp_path / "theirs")
    settings = {name: value for name, value in read_cfg_args(folder).items() if "temperature" not in name}
    (folder / "cfg_args").write_text(f"Namespace({', '.join(f'{name}={value!r}' for name, value in settings.items())})")
    assert moegs.main(["import", str(folder), f"--save_path={tmp_path / 'run'}", "--quiet"]) == 0
    facts = json.loads((tmp_path / "run/router/iteration_3/router.json").read_text())
    assert (facts["temperature"], facts["eval_temperature"]) == (0.01, 1.0)  # of its training, of its renders


@pytest.mark.parametrize("ours", [True, False])
def test_principal_points_are_those_of_the_code_that_trained_it(world, tmp_path, ours):
    folder = shutil.copytree(world / "upstream", tmp_path / "folder")
    settings = {name: value for name, value in read_cfg_args(folder).items() if ours or name != "principal_points"}
    (folder / "cfg_args").write_text(f"Namespace({', '.join(f'{name}={value!r}' for name, value in settings.items())})")
    assert moegs.main(["import", str(folder), f"--save_path={tmp_path / 'run'}", "--quiet"]) == 0
    chosen = json.loads((tmp_path / "run" / "config.json").read_text())["principal_points"]
    assert chosen == ("kept" if ours else "centred")


@pytest.mark.parametrize("experts", [("STG", "4DGaussians"), ("4DGaussians", "Ex4DGS")])  # one not in the table's order
def test_an_ensemble_that_is_not_published_goes_and_comes_too(world, tmp_path, capsys, experts):
    named = [f"--expert={name}={world / 'models' / name}" for name in experts]
    shared = [f"--source_path={world / 'film'}", f"--cache_path={world / 'cache'}", "--quiet", "--device=cpu"]
    few = ["--iterations=2", "--test_iterations", f"--save_path={tmp_path / 'run'}"]
    assert moegs.main(["train", *shared, *named, *few]) == 0
    assert moegs.main(["export", str(tmp_path / "run"), f"--out={tmp_path / 'out'}", "--quiet"]) == 0
    assert moegs.main(["import", str(tmp_path / "out"), f"--save_path={tmp_path / 'back'}", "--quiet"]) == 0
    assert "to render and score it: python moegs.py render --save_path" in capsys.readouterr().out
    ours, theirs = (load_run(tmp_path / name, overrides={"device": "cpu"}) for name in ("run", "back"))
    assert ours.ensemble.experts == theirs.ensemble.experts == experts
    assert torch.equal(mix_view(ours, 0, 2).image, mix_view(theirs, 0, 2).image)


def test_of_two_exports_at_the_same_time_the_second_is_refused(world, tmp_path, monkeypatch, capsys):
    given, codes = ["export", str(world / "run"), f"--out={tmp_path / 'paper'}", "--quiet"], []

    def with_another(*arguments, **named):
        monkeypatch.setattr(export, "load_run", load_run)
        codes.append(moegs.main(given))
        return load_run(*arguments, **named)

    monkeypatch.setattr(export, "load_run", with_another)
    assert moegs.main(given) == 0 and codes == [2]
    assert f"error: {tmp_path / 'paper'}: another command writes here; wait for it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["paper"], "whole, and no lock is left"


@pytest.mark.parametrize("flags", [["--out=."], ["--to=.", "--content=STG", "--test_frames=1"]])
def test_a_linked_folder_and_that_of_the_shell_are_filled(world, tmp_path, monkeypatch, flags):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    linked = flags[0].replace(".", str(link))
    assert moegs.main(["export", str(world / "run"), linked, *flags[1:], "--quiet"]) == 0
    assert link.is_symlink() and any(elsewhere.iterdir())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert moegs.main(["export", str(world / "run"), *flags, "--quiet"]) == 0
    assert any((tmp_path / "here").iterdir())


def test_of_two_imports_at_the_same_time_the_second_is_refused(world, tmp_path, capsys):
    given = ["import", str(world / "upstream"), f"--save_path={tmp_path / 'back'}", "--quiet"]
    with only_one(tmp_path / "back", RuntimeError()):
        assert moegs.main(given) == 2
    assert f"error: {tmp_path / 'back'}: another command writes here" in capsys.readouterr().err
    assert moegs.main(given) == 0


def test_nothing_is_written_over_and_what_does_not_fit_is_named(world, tmp_path, capsys):
    def refused(*arguments: object) -> str:
        assert moegs.main([*map(str, arguments), "--quiet"]) == 2
        return capsys.readouterr().err

    assert "is not empty; choose another folder" in refused("export", world / "run", f"--out={world / 'upstream'}")
    assert "nothing to write: give --to NAME.html" in refused("export", world / "run")
    assert "holds a run already" in refused("import", world / "upstream", f"--save_path={world / 'run'}")
    for taken in (world / "upstream", world / "film"):
        said = refused("import", world / "upstream", f"--save_path={taken}")
        assert f"--save_path {taken}: is not empty; choose another folder" in said
        assert not (taken / "config.json").exists() and not (taken / "router").exists()
    assert "missing: --save_path (new folder of the imported run)" in refused("import", world / "upstream")
    assert "holds no expert's folder" in refused("import", world / "film", f"--save_path={tmp_path / 'a'}")
    models = refused("import", world / "models", f"--save_path={tmp_path / 'b'}", f"--source_path={world / 'film'}")
    assert "no columns of a router" in models
    folder = shutil.copytree(world / "upstream", tmp_path / "other")
    head = folder / "Ex4DGS/point_cloud/iteration_3/point_cloud.pt"
    torch.save({"mlp1.weight": torch.zeros(6, 2, 1, 1)}, head)
    assert "point_cloud.pt: a head of" in refused("import", folder, f"--save_path={tmp_path / 'c'}")
    assert not any((tmp_path / name).exists() for name in "abc")
