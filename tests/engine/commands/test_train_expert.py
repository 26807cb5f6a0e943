from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import engine.commands.train_expert
import engine.training.expert.task
import moegs
from engine.evaluation.measures.psnr import psnr
from engine.runs.device import CPU
from engine.training.expert.saves import load_state, saved_state
from engine.training.expert.task import ExpertTask
from experts.formats.cfg_args import read_cfg_args
from scenes import FrameStore
from tests.engine.expert_scene import NAMES, reloaded, run, write_film
from tests.scenes.scene_folders import Rig, write_technicolor_scene

ALL = tuple(NAMES)


def image(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).double() / 255


USUAL = ("density.start=4", "density.every=6", "density.gradient=1e-7")  # densification within 30 iterations
FASTER = dict.fromkeys(ALL, USUAL) | {
    "ex4dgs": (
        *("density.start=4", "density.every=6", "density.gradient=1e-7", "growth.start=2", "growth.frames=2"),
        *("growth.every=6", "growth.extract_after=2", "growth.percentile=0.3"),
    ),
    "4dgaussians": ("density.start=2", "density.every=6", "density.gradient=1e-7"),
    "freetime": ("relocation.start=2", "relocation.every=6", "relocation.dead_below=0.05", "gate_penalty_from=3"),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_film(tmp_path_factory.mktemp("footage"))


@pytest.mark.parametrize("expert", ALL)
def test_an_expert_is_trained_saved_scored_and_read_again(film, tmp_path, expert):
    model = tmp_path / "model"
    assert run(film, model, expert, "--set", *FASTER[expert]) == 0
    report = json.loads((model / "train_expert.json").read_text())
    assert report["expert"] == NAMES[expert] and report["preset"] == "n3v"
    if expert == "freetime":  # 0.65 for a pixel, moved but never more or fewer
        assert report["gaussians_at_start"] == report["gaussians"] == 832
    else:
        assert report["gaussians_at_start"] == 60 and report["gaussians"] != 60
    shown, truth = (image(model / "test" / "itrs_30" / kind / "cam00_00000.png") for kind in ("renders", "gt"))
    assert report["scored_frames"] == 1 and report["scores"]["psnr"] == pytest.approx(psnr(shown, truth), abs=1e-5)
    assert [step["iteration"] for step in report["history"]] == [30]
    tensors = reloaded(expert, model)
    assert expert != "ex4dgs" or len(tensors["static.means"]) * len(tensors["dynamic.means"]) > 0
    assert read_cfg_args(model)["source_path"] == str(film)
    assert not list(model.rglob(".*"))


@pytest.mark.parametrize("expert", ALL)
def test_one_training_camera_is_refused(film, tmp_path, capsys, expert):
    assert run(film, tmp_path / expert, expert, "--test_cameras", "cam00", "cam01") == 2
    assert "the training cameras stand in one place (extent 0), so they give no scale" in capsys.readouterr().err
    assert not (tmp_path / expert / "point_cloud").exists()


def test_one_training_camera_of_a_scene_in_the_rigs_own_units_is_refused_alike(tmp_path, capsys):
    write_technicolor_scene(tmp_path / "own", Rig(frames=6, width=40, height=32, focal=40.0))
    points = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
    np.savez(tmp_path / "own" / "known_points.npz", xyz=points, rgb=np.full((50, 3), 0.5, np.float32))
    asked = ("--loader=technicolor", "--test_cameras", "cam00", "cam01")
    assert run(tmp_path / "own", tmp_path / "model", "ex4dgs", *asked) == 2
    assert "the training cameras stand in one place (extent 0), so they give no scale" in capsys.readouterr().err


def test_memory_is_given_back_whenever_the_number_of_gaussians_changed(film, tmp_path, monkeypatch):
    devices = []
    monkeypatch.setattr(engine.training.expert.task, "release_unused", devices.append)
    assert run(film, tmp_path / "short", "ed3dgs", "--iterations=2") == 0
    assert devices == []
    assert run(film, tmp_path / "growing", "ed3dgs", "--set", *FASTER["ed3dgs"]) == 0
    assert 1 < len(devices) < 30 and set(devices) == {CPU}


def test_images_lie_beside_their_truth(film, tmp_path):
    assert run(film, tmp_path / "model", "stg", "--iterations=2") == 0
    folder = tmp_path / "model" / "test" / "itrs_2"
    assert [path.name for path in (folder / "renders").iterdir()] == ["cam00_00000.png"]
    truth = np.asarray(Image.open(folder / "gt" / "cam00_00000.png"))
    assert truth.shape == (32, 40, 3) and np.abs(truth[16, 10].astype(int) - (40, 30, 90)).max() < 12  # H.264


def interrupt_once(monkeypatch) -> None:
    """Ends the next training when it is scored for the first time."""
    real = ExpertTask.evaluate

    def interrupts(*args, **options):
        monkeypatch.setattr(ExpertTask, "evaluate", real)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ExpertTask, "evaluate", interrupts)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("expert", ALL)
def test_interrupted_and_resumed_is_the_same_to_the_bit(film, tmp_path, monkeypatch, expert, device):
    settings = (f"--device={device}", "--colour_correction", "--set", *FASTER[expert])
    assert run(film, tmp_path / "whole", expert, *settings) == 0
    interrupt_once(monkeypatch)
    assert run(film, tmp_path / "parts", expert, "--test_iterations=13", *settings) == 130
    assert saved_state(tmp_path / "parts")[0] == 13
    assert run(film, tmp_path / "parts", expert, "--resume") == 0
    whole, parts = (reloaded(expert, tmp_path / name) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_a_tree_that_was_moved_is_resumed_without_a_folder(tmp_path, monkeypatch, capsys):
    tree, moved = tmp_path / "tree", tmp_path / "moved"
    film, cloud = write_film(tree), tree / "cloud.npz"
    positions = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
    np.savez(cloud, xyz=positions, rgb=np.full((50, 3), 0.5, np.float32))
    few = (f"--points={cloud}", "--iterations=6")
    assert run(film, tree / "whole", "stg", *few) == 0
    interrupt_once(monkeypatch)
    assert run(film, tree / "parts", "stg", *few, "--test_iterations=3") == 130
    tree.rename(moved)
    assert moegs.main(["train-expert", "stg", "--resume", f"--model_path={moved / 'parts'}"]) == 0
    said = capsys.readouterr().err
    for name, place in (("the scene is", "film"), ("start points are", "cloud.npz"), ("decoded frames are", "cache")):
        assert f"{name} read from {moved / place}, as {tree / place} is not there any more" in said
    whole, parts = (reloaded("stg", moved / name) for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert not tree.exists()
    settings = json.loads((moved / "parts" / "train_expert_config.json").read_text())
    assert settings["source_path"] == str(moved / "film") and settings["points"] == str(moved / "cloud.npz")
    again = ["train-expert", "stg", "--resume", f"--model_path={moved / 'parts'}", f"--source_path={tree}"]
    assert moegs.main(again) == 2  # what is given counts
    assert f"--source_path {tree}: no such folder" in capsys.readouterr().err


def test_the_seed_decides(film, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run(film, tmp_path / name, "stg", "--iterations=6", f"--seed={seed}") == 0
    a, b, c = (reloaded("stg", tmp_path / name)["segments.0.means"] for name in "abc")
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_random_points_are_asked_for_and_asked_for_again(tmp_path):
    film, model = write_film(tmp_path), tmp_path / "model"
    positions = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
    np.savez(film / "known_points.npz", xyz=positions, rgb=np.full((50, 3), 0.5, np.float32))
    few = ("--iterations=2", "--max_points=40")
    assert run(film, model, "freetime", *few, "--points=random") == 0
    assert "40 random points" in json.loads((model / "train_expert.json").read_text())["start_points"]
    (model / "train_expert.json").unlink()
    assert run(film, model, "freetime", *few, "--resume") == 0  # the settings are those of the folder
    assert "40 random points" in json.loads((model / "train_expert.json").read_text())["start_points"]
    assert run(film, model, "freetime", *few, "--overwrite") == 0
    assert "known_points.npz" in json.loads((model / "train_expert.json").read_text())["start_points"]


def test_only_the_newest_state_is_kept_and_every_asked_model(film, tmp_path):
    assert run(film, tmp_path, "4dgaussians", "--iterations=6", "--save_iterations", "2", "4") == 0
    assert sorted(path.name for path in (tmp_path / "point_cloud").iterdir()) == [f"iteration_{n}" for n in (2, 4, 6)]
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["iteration_6.pt"]
    assert load_state(tmp_path / "training" / "iteration_6.pt")["iteration"] == 6


def test_stg_is_cut_into_segments_that_load_as_one(film, tmp_path):
    model = tmp_path / "room"
    short = ("--iterations=3", "--segments=4")
    assert run(film, model, "stg", *short, "--segment=2") == 0
    assert [path.name for path in model.iterdir() if path.is_dir()] == ["room_4to5"]
    assert run(film, model, "stg", *short, "--segment=1") == 0
    tensors = reloaded("stg", model)
    assert {"segments.0.means", "segments.1.means"} <= set(tensors)
    facts = json.loads((model / "room_4to5" / "train_expert.json").read_text())["settings"]
    assert (facts["first frame"], facts["frames"]) == (4, 2)


def test_segments_see_their_own_frames(film, tmp_path):
    model = tmp_path / "room"
    assert run(film, model, "stg", "--iterations=1", "--segments=4") == 0
    truths = [np.asarray(Image.open(path)) for path in sorted(model.glob("*/test/itrs_1/gt/cam00_00000.png"))]
    found = [int(truth[16, 10, 1]) for truth in truths]  # green tells the frame: 30 + 8 x frame
    assert np.abs(np.array(found) - (30, 62)).max() < 8


def test_no_held_out_image_is_read_before_it_is_scored(film, tmp_path, monkeypatch):
    seen = set()
    real = engine.commands.train_expert.open_expert_task

    def watched(config, spec, output, **options):
        task = real(config, spec, output, **options)
        read = task.views._images._scene.frames.read

        class Watching(FrameStore):
            def read(self, view, frame):
                seen.add(view)
                return read(view, frame)

        object.__setattr__(task.views._images._scene, "frames", Watching())
        return task

    monkeypatch.setattr(engine.commands.train_expert, "open_expert_task", watched)
    monkeypatch.setattr(ExpertTask, "score", lambda *args, **options: None)
    assert run(film, tmp_path, "stg", "--iterations=12") == 0
    assert seen == {1, 2}
