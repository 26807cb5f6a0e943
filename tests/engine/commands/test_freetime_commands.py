"""FreeTime through every command: trained, checked, blended, rendered, verified, reported, exchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import moegs
from benchmarks.trained_scenes import trained_like_scene
from engine.commands.train import main as train_script
from engine.evaluation.measures.lpips_network import feature_names
from engine.runs.saved.loading import load_run
from experts import EXPERTS, LoadOptions, load_expert
from experts.freetime.model import FreeTime
from experts.recognition import expert_of_folder
from router import ENSEMBLES, folder_flags
from tests.engine.expert_scene import run as train_expert
from tests.engine.expert_scene import write_film

FEW = ("--iterations=3", "--test_iterations", "--test_frames=1", "--device=cpu", "--quiet")
SETTINGS = ("--max_gaussians=200",)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film, FreeTime and 4DGaussians trained for some iterations, and the run of a router of both."""
    root = tmp_path_factory.mktemp("freetime")
    film = write_film(root)
    assert train_expert(film, root / "models" / "FreeTime", "freetime", "--iterations=4", *SETTINGS) == 0
    assert train_expert(film, root / "models" / "4DGaussians", "4dgaussians", "--iterations=2") == 0
    named = [f"--expert={name}={root / 'models' / name}" for name in ("FreeTime", "4DGaussians")]
    shared = [f"--source_path={film}", f"--cache_path={root / 'cache'}", f"--save_path={root / 'run'}"]
    assert moegs.main(["train", *shared, *named, *FEW]) == 0
    return root


def film_of(world: Path) -> Path:
    return Path(json.loads((world / "run" / "config.json").read_text())["source_path"])


def test_a_training_reports_itself_and_its_folder_is_recognised(world: Path) -> None:
    folder = world / "models" / "FreeTime"
    report = json.loads((folder / "train_expert.json").read_text())
    assert (report["expert"], report["gaussians"], report["gaussians_at_start"]) == ("FreeTime", 200, 200)
    assert report["settings"]["relocation.kind"] == "mcmc" and report["settings"]["regularise_4d"] == 0.01
    assert expert_of_folder(folder, None, experts=EXPERTS.values()) is EXPERTS["FreeTime"]
    model = load_expert("FreeTime", folder, LoadOptions())
    assert isinstance(model, FreeTime) and model.num_frames == 6 and model.life.limit == 5.0


def test_its_variants_are_trained_and_read_back(world: Path, tmp_path: Path) -> None:
    """LPIPS of random weights, batches of one frame, Gaussians along rays, and motion that ends where lives last."""
    drawn = torch.Generator().manual_seed(0)
    specs = [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)]
    arrays = {}
    for level, (name, (outward, inward, size)) in enumerate(zip(feature_names("alex"), specs, strict=True)):
        arrays[f"{name}.weight"] = 0.05 * torch.randn(outward, inward, size, size, generator=drawn).numpy()
        arrays[f"{name}.bias"] = np.zeros(outward, np.float32)
        arrays[f"lin{level}"] = np.ones(outward, np.float32)
    np.savez(tmp_path / "alex.npz", **arrays)
    variants = ("still=lasting", "lpips=0.1", "same_frame=true", "rates_by_batch=true", "moving=rays", "rays_at=[2, 3]")
    lpips = f"--lpips_weights={tmp_path / 'alex.npz'}"
    shared = ("freetime", "--iterations=5", "--batch=2", *SETTINGS, lpips, "--set", *variants)
    assert train_expert(film_of(world), tmp_path / "model", *shared) == 0
    report = json.loads((tmp_path / "model" / "train_expert.json").read_text())
    assert report["settings"]["still"] == "lasting" and report["settings"]["rays_at"] == [2, 3]
    assert report["settings"]["lpips"] == 0.1 and report["gaussians"] == 200
    model = load_expert("FreeTime", tmp_path / "model", LoadOptions())
    assert isinstance(model, FreeTime) and model.life.still == "lasting"


def test_the_mixture_of_both_is_rendered_verified_and_reported(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(world / "run")
    assert moegs.main(["render", f"--save_path={run}", "--skip_train", "--quiet"]) == 0
    metrics = json.loads((world / "run" / "test" / "itrs_3" / "metrics.json").read_text())
    assert metrics["experts"] == ["FreeTime", "4DGaussians"] and "FreeTime" in metrics["means"]
    assert moegs.main(["verify", run, "--quiet", "--frames=1"]) == 0
    capsys.readouterr()
    assert moegs.main(["report", run]) == 0
    assert "FreeTime" in capsys.readouterr().out


def test_it_is_checked_with_its_scene(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = moegs.main(["check", str(film_of(world)), str(world / "models" / "FreeTime"), "--device=cpu"])
    shown = capsys.readouterr()
    assert code in (0, 1) and "FreeTime" in shown.out, shown.err


def test_a_run_goes_out_and_comes_back(world: Path, tmp_path: Path) -> None:
    assert moegs.main(["export", str(world / "run"), f"--out={tmp_path / 'out'}", "--quiet"]) == 0
    exported = tmp_path / "out" / "FreeTime"
    assert EXPERTS["FreeTime"].read_routed(exported, None) is not None
    assert moegs.main(["import", str(tmp_path / "out"), f"--save_path={tmp_path / 'back'}", "--quiet"]) == 0
    ours, theirs = (load_run(path, overrides={"device": "cpu"}) for path in (world / "run", tmp_path / "back"))
    assert [expert.name for expert in theirs.experts] == [expert.name for expert in ours.experts]
    for name, value in ours.router.state_dict().items():
        assert torch.equal(theirs.router.state_dict()[name], value), name


def test_a_file_of_others_stands_for_a_folder(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = world / "models" / "FreeTime" / "point_cloud" / "iteration_4" / "point_cloud.ply"
    file = Path(shutil.copy(table, tmp_path / "model.ftgs.ply"))
    given = [f"--source_path={film_of(world)}", f"--cache_path={world / 'cache'}", *FEW]
    other = f"--expert=4DGaussians={world / 'models' / '4DGaussians'}"
    assert moegs.main(["train", *given, f"--expert=FreeTime={file}", other, f"--save_path={tmp_path / 'run'}"]) == 0
    assert moegs.main(["render", f"--save_path={tmp_path / 'run'}", "--skip_train", "--quiet"]) == 0
    assert load_run(tmp_path / "run").experts[0].provenance.files == (file,)
    assert moegs.main(["train", *given, f"--expert=FreeTime={table}", other, f"--save_path={tmp_path / 'no'}"]) == 2
    assert "point_cloud.ply: is a file; give the folder of the trained FreeTime model" in capsys.readouterr().err


def test_e5_blends_five_and_e4_refuses_the_fifth(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gaussians, _ = trained_like_scene(count=30, width=40, height=32, seed=1)
    flags = []
    for name, flag in folder_flags(ENSEMBLES["E5"]).items():
        EXPERTS[name].save(EXPERTS[name].random_model(gaussians), tmp_path / name, 1)
        flags.append(f"--{flag}={tmp_path / name}")
    given = [f"--source_path={film_of(world)}", f"--cache_path={world / 'cache'}", f"--save_path={tmp_path / 'run'}"]
    assert train_script("E4", [*given, *flags, *FEW]) == 2
    assert "--freetime_path is not used by E4: train_E5.py uses it" in capsys.readouterr().err
    assert train_script("E5", [*given, *flags[:-1], *FEW]) == 2
    assert "missing: --freetime_path" in capsys.readouterr().err
    assert train_script("E5", [*given, *flags, *FEW]) == 0
    assert [expert.name for expert in load_run(tmp_path / "run").experts] == list(ENSEMBLES["E5"].experts)
