"""Near and far planes: the command line beats an expert's cfg_args, which beat a JSON config."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from engine.commands import train
from engine.runs.device import CPU, ComputeDevice
from engine.runs.experts import loading
from engine.runs.experts.images import image_of
from engine.runs.experts.loading import open_expert
from engine.runs.saved.loading import trained_config
from engine.runs.scene import open_scene
from engine.settings.parsing.config_file import write_config_file
from engine.settings.parsing.fields import with_values
from engine.settings.training.train import CONFIG_FILE, read_train_settings
from experts.base import LoadOptions
from experts.formats.settings import CheckpointSettings
from router import ENSEMBLES
from tests.small_world import use_small_world

E4 = ENSEMBLES["E4"]
ROOT = Path(__file__).resolve().parents[4]
FOLDERS = [f"--{name}=x" for name in ("model_path", "emb_path", "stg_path", "fgaussian_path")]


def read(save_path: Path, *arguments: object):
    places = ["--source_path=scene", f"--save_path={save_path}", *FOLDERS]
    return read_train_settings(E4, [*places, *map(str, arguments)])


def planes(config) -> tuple[float | None, float | None, tuple[str, ...]]:
    return config.experts.near, config.experts.far, config.experts.file_planes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "paper.json"
    path.write_text(json.dumps({"near": 4.0, "far": 300.0}))
    return path


def test_planes_of_a_file_are_told_from_those_of_the_command_line(tmp_path, file):
    assert planes(read(tmp_path)) == (None, None, ())
    assert planes(read(tmp_path, "--near", 2)) == (2.0, None, ())
    assert planes(read(tmp_path, f"--config={file}")) == (4.0, 300.0, ("near", "far"))
    assert planes(read(tmp_path, f"--config={file}", "--near=4")) == (4.0, 300.0, ("far",))
    assert planes(read(tmp_path, f"--config={file}", "--near", 2, "--far", 9)) == (2.0, 9.0, ())


def test_a_run_keeps_where_its_planes_came_from(tmp_path, file):
    write_config_file(tmp_path / CONFIG_FILE, read(tmp_path, f"--config={file}"))
    assert planes(trained_config(tmp_path)) == (4.0, 300.0, ("near", "far"))
    assert planes(read(tmp_path, "--resume")) == (4.0, 300.0, ("near", "far"))
    assert planes(read(tmp_path, "--resume", "--near", 4)) == (4.0, 300.0, ("far",))


def test_planes_that_an_older_run_used_for_all_experts_stay(tmp_path):
    stored = json.loads(write_config_file(tmp_path / CONFIG_FILE, read(tmp_path, "--near", 4)).read_text())
    del stored["file_planes"]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(stored))
    assert planes(trained_config(tmp_path)) == planes(read(tmp_path, "--resume")) == (4.0, None, ())


def test_no_flag_gives_them_and_no_help_shows_them(tmp_path, capsys):
    arguments = ["--source_path=scene", f"--save_path={tmp_path}", *FOLDERS]
    assert train.main("E4", [*arguments, "--file_planes", "near"]) == 2
    assert "file_planes" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main("E4", ["--help"])
    assert "file_planes" not in capsys.readouterr().out


CONFIG = {"config_near": 4.0, "config_far": 300.0, "config": Path("configs/N3V/x.json")}
ORDER = [
    ("near=0.69", {}, 0.69, "near 0.69 (from cfg_args)"),
    ("near=0.69", CONFIG, 0.69, "near 0.69 (from cfg_args)"),
    ("near=0.69", CONFIG | {"near": 2.0}, 2.0, "near 2 (from the run)"),
    ("sh_degree=3", CONFIG, 4.0, "near 4 (from the run)"),
    ("sh_degree=3", {}, 0.2, "near 0.2 (preset value: not in cfg_args)"),
]


@pytest.mark.parametrize(("stored", "options", "near", "note"), ORDER)
def test_order_of_planes(tmp_path, stored, options, near, note):
    (tmp_path / "cfg_args").write_text(f"Namespace({stored})")
    settings = CheckpointSettings(tmp_path)
    assert settings.planes(LoadOptions(**options))[0] == near
    assert settings.notes[0] == note


def test_a_config_that_differs_is_warned_of_with_both_numbers(tmp_path):
    (tmp_path / "cfg_args").write_text("Namespace(near=0.69, far=300)")
    settings = CheckpointSettings(tmp_path)
    assert settings.planes(LoadOptions(**CONFIG)) == (0.69, 300.0)
    warnings = [note for note in settings.notes if note.startswith("warning: ")]
    assert warnings == ["warning: near 4 in configs/N3V/x.json, the expert was trained with 0.69; using 0.69"]


def test_experts_get_the_planes_with_their_origin(tmp_path, monkeypatch, file):
    given: list[LoadOptions] = []
    arguments = use_small_world(monkeypatch, tmp_path)
    original = loading.load_expert
    monkeypatch.setattr(
        loading,
        "load_expert",
        lambda name, folder, options, **rest: given.append(options) or original(name, folder, options, **rest),
    )
    arguments += [f"--save_path={tmp_path / 'out'}", f"--config={file}", "--far=9", "--iterations=1"]
    assert train.main("E3", [*arguments, "--test_iterations", "--quiet"]) == 0
    assert {(each.near, each.far, each.config_near, each.config_far, each.config) for each in given} == {
        (None, 9.0, 4.0, None, file)
    }


PSNR = {"trained": 23.59, "replaced": 10.59}  # dB, of cam00 at frame 0 and resolution 2, with near 1.13 and near 4


def test_a_papers_config_leaves_an_expert_the_planes_of_its_training(shared, tmp_path, caplog):
    folder = shared("reference/experts") / "Ex4DGS" / "kitchen_tiny"
    config = read(tmp_path, f"--config={ROOT / 'configs/N3V/cook_spinach.json'}")
    config = with_values(
        config, {"source_path": shared("data/kitchen_tiny"), "cache_path": tmp_path / "cache", "quiet": True}
    )
    scene = open_scene(config, E4)
    view = scene.test[0]
    truth = torch.tensor(scene.frames.read(view, 0)).permute(2, 0, 1) / 255
    scores = {}
    for name, asked in (("trained", config), ("replaced", with_values(config, {"file_planes": ()}))):
        with caplog.at_level(logging.WARNING):
            expert = open_expert(asked, scene, "Ex4DGS", folder, device=CPU)
        image = image_of(expert, scene.views[view].camera, 0, compute=ComputeDevice(device=CPU, backend="auto"))
        scores[name] = -10 * (image.clamp(0, 1) - truth).square().mean().log10().item()
    assert scores == pytest.approx(PSNR, abs=0.02)
    assert [message for message in caplog.messages if "near" in message] == [
        f"{folder}: near 4 in {ROOT / 'configs/N3V/cook_spinach.json'}, the expert was trained with 1.13; using 1.13"
    ]
