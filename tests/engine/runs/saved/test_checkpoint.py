from __future__ import annotations

import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.runs.scene
from common.disk.faults import UnwrittenError
from engine.commands import train
from engine.errors import ConfigError
from engine.runs.run import mix_view
from engine.runs.saved.checkpoint import (
    FACTS,
    STATE,
    TENSORS,
    SavedRouter,
    check_state,
    checkpoint_folder,
    load_checkpoint,
    save_checkpoint,
    saved_ensemble,
    saved_iterations,
)
from engine.runs.saved.loading import load_run
from engine.runs.saved.scene_record import camera_hash, other_footage, scene_facts
from engine.training.router.resume import check_same
from experts.base import CheckpointError
from scenes import SceneOptions, load_scene
from tests.engine.expert_scene import write_film
from tests.small_world import NAMES, RestoredWorld, camera, random_scene, small_run, use_small_world

STEPS = ["--iterations", "4", "--save_iterations", "2", "--test_iterations"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> RestoredWorld:
    def make(root: Path, flags: list[str]) -> None:
        assert train.main("E3", [*flags, f"--save_path={root / 'out'}", *STEPS]) == 0

    return RestoredWorld.made(tmp_path_factory.mktemp("checkpoint"), make)


@pytest.fixture
def trained(world, monkeypatch) -> Path:
    """A trained run: saves at 2 and 4, experts below models/."""
    return world.restored(monkeypatch) / "out"


def test_a_save_holds_named_tensors_and_what_they_belong_to(trained):
    assert saved_iterations(trained) == (2, 4)
    folder = checkpoint_folder(trained)
    assert folder == trained / "router" / "iteration_4"
    tensors = load_file(folder / TENSORS)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.startswith("head.")}
    rows = {"Ex4DGS": 50, "E-D3DGS": 100, "4DGaussians": 50}
    static = {f"{name}.static": (count, 2) for name, count in rows.items()}
    assert shapes == static | {f"{name}.temporal": (count, 1) for name, count in rows.items()}
    facts = json.loads((folder / FACTS).read_text())
    assert (facts["format"], facts["iteration"], facts["ensemble"], facts["temperature"]) == (1, 4, "E3", 1.0)
    assert {entry["name"]: entry["gaussians"] for entry in facts["experts"]} == rows
    assert list(facts["experts"][0]["files"]) == ["cfg_args", "point_cloud/iteration_1/point_cloud.ply"]
    assert facts["scene"]["num_frames"] == 4
    assert facts["scene"]["test"] == ["cam00"]


def test_only_the_newest_save_keeps_the_training_state(trained):
    assert [path.parent.name for path in trained.glob(f"router/*/{STATE}")] == ["iteration_4"]
    assert sorted(path.name for path in (trained / "router").iterdir()) == ["iteration_2", "iteration_4"]


def test_a_run_opened_again_renders_the_same_and_knows_its_iteration(trained):
    newest, older = load_run(trained), load_run(trained, iteration=2)
    assert (newest.iteration, older.iteration) == (4, 2)
    saved = load_file(trained / "router" / "iteration_4" / TENSORS)
    assert torch.equal(newest.router.features.static[1], saved["E-D3DGS.static"])
    assert torch.equal(mix_view(newest, 0, 1).image, mix_view(load_run(trained), 0, 1).image)
    assert not torch.equal(mix_view(newest, 0, 1).image, mix_view(older, 0, 1).image)
    assert not any(parameter.requires_grad for parameter in newest.router.parameters())


def test_overrides_change_what_they_name(trained):
    run = load_run(trained, overrides={"eval_temperature": 2.0, "backend": "torch", "resolution": None})
    assert (run.router.eval_temperature, run.router.temperature) == (2.0, 1.0)


def test_a_run_trained_on_a_gpu_opens_on_a_machine_without_one(trained):
    settings = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps(settings | {"device": "cuda", "backend": "cuda"}))
    run = load_run(trained)
    assert (run.device.type, run.backend) == ("cpu", "auto")


def test_an_iteration_that_was_not_saved_names_those_that_were(trained):
    with pytest.raises(ConfigError, match="iteration 3 was not saved; available: 2, 4"):
        load_run(trained, iteration=3)
    with pytest.raises(ConfigError, match="holds no trained router"):
        load_run(trained.parent)


def test_a_changed_expert_is_refused_by_name(trained):
    file = trained.parent / "models" / "E-D3DGS" / "point_cloud" / "iteration_2" / "point_cloud.ply"
    file.write_text("other Gaussians")
    with pytest.raises(CheckpointError, match=f"{file}: changed since the router was trained.*--emb_path"):
        load_run(trained)
    file.unlink()
    with pytest.raises(CheckpointError, match=f"{file}: missing"):
        load_run(trained)


def test_a_moved_expert_is_found_where_its_flag_says(trained):
    models = trained.parent / "models"
    (models / "Ex4DGS").rename(models / "elsewhere")
    with pytest.raises(ConfigError, match="the Ex4DGS model is not there any more; say where with --model_path"):
        load_run(trained)
    with pytest.raises(ConfigError, match="say where with --moved Ex4DGS=PATH"):
        load_run(trained, flag="--moved")
    assert load_run(trained, overrides={"model_path": models / "elsewhere"}).iteration == 4


def test_a_tree_of_a_run_and_its_experts_is_moved_or_copied_as_a_whole(tmp_path, monkeypatch):
    arguments = use_small_world(monkeypatch, tmp_path / "tree")
    monkeypatch.setattr(engine.runs.scene, "load_scene", lambda source, options: random_scene(source))
    own = tmp_path / "tree" / "runs" / "own"
    assert train.main("E3", [*arguments, f"--save_path={own}", *STEPS]) == 0
    facts = json.loads((own / "router" / "iteration_4" / "router.json").read_text())
    assert [entry["beside"] for entry in facts["experts"]] == [f"../../models/{name}" for name in NAMES]

    def opened(folder: Path) -> set[Path]:
        run = load_run(folder)
        return {expert.provenance.files[0].parents[3] for expert in run.experts} | {run.scene.root / "models"}

    copied = shutil.copytree(tmp_path / "tree", tmp_path / "copy")
    original = tmp_path / "tree" / "models" / "Ex4DGS" / "point_cloud" / "iteration_1" / "point_cloud.ply"
    original.write_text("trained again since")
    assert opened(copied / "runs" / "own") == {
        copied / "models",
        tmp_path / "tree" / "models",
    }  # its scene is there yet
    shutil.rmtree(tmp_path / "tree")
    moved = copied.rename(tmp_path / "moved")
    assert opened(moved / "runs" / "own") == {moved / "models"}
    changed = moved / "models" / "Ex4DGS" / "point_cloud" / "iteration_1" / "point_cloud.ply"
    changed.write_text("other Gaussians")
    with pytest.raises(CheckpointError, match=f"{changed}: changed since the router was trained"):
        load_run(moved / "runs" / "own")


def test_a_run_that_is_moved_alone_finds_its_experts_where_they_were(trained):
    (trained.parent / "far" / "models" / "Ex4DGS").mkdir(parents=True)  # beside the moved run: of something else
    (trained.parent / "far" / "models" / "Ex4DGS" / "cfg_args").write_text("Namespace(source_path='data/other')")
    moved = trained.rename(trained.parent / "far" / trained.name)
    files = [expert.provenance.files[0] for expert in load_run(moved).experts]
    assert all(file.is_relative_to(trained.parent / "models") for file in files)


def test_a_bundle_can_be_moved(tmp_path, monkeypatch):
    arguments = use_small_world(monkeypatch, tmp_path)
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'out'}", *STEPS, "--bundle"]) == 0
    shutil.rmtree(tmp_path / "models")
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    run = load_run(moved)
    assert run.experts[0].provenance.files[0].is_relative_to(moved / "experts" / "Ex4DGS" / "Ex4DGS")
    assert (moved / "experts" / "Ex4DGS" / "Ex4DGS" / "cfg_args").is_file()


def damage(folder: Path, kind: str) -> None:
    if kind == "truncated":
        (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-50])
    elif kind == "missing":
        (folder / TENSORS).unlink()
    elif kind == "other numbers":
        tensors = load_file(folder / TENSORS)
        tensors["Ex4DGS.static"] += 1
        save_file(tensors, folder / TENSORS)
    elif kind == "facts cut":
        (folder / FACTS).write_text((folder / FACTS).read_text()[:-20])
    else:
        facts = json.loads((folder / FACTS).read_text())
        (folder / FACTS).write_text(json.dumps(facts | {"format": 2} if kind == "format" else {"format": 1}))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", f"{TENSORS}: damaged .*use another iteration"),
        ("missing", f"{TENSORS}: no such file"),
        ("other numbers", f"{TENSORS}: not the tensors that router.json beside it describes"),
        ("facts cut", f"{FACTS}: damaged"),
        ("format", f"{FACTS}: format 2, this version reads 1"),
        ("keys", f"{FACTS}: damaged .*experts"),
    ],
)
def test_damaged_saves_are_refused_by_file(trained, kind, message):
    folder = checkpoint_folder(trained)
    damage(folder, kind)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)
    if kind == "facts cut":
        with pytest.raises(CheckpointError, match=message):
            saved_ensemble(trained)
    elif kind != "keys":
        assert saved_ensemble(trained) == "E3"


def test_a_place_of_an_expert_that_is_no_text_is_refused_by_file(trained):
    path = checkpoint_folder(trained) / "router.json"
    facts = json.loads(path.read_text())
    facts["experts"][1]["beside"] = 5
    path.write_text(json.dumps({key: value for key, value in facts.items() if key != "hash"}))
    with pytest.raises(CheckpointError, match=f"{path}: damaged"):
        load_checkpoint(path.parent)


def test_another_cut_of_the_clip_is_refused(trained, monkeypatch):
    whole = engine.runs.scene.load_scene
    monkeypatch.setattr(engine.runs.scene, "load_scene", lambda *arguments: replace(whole(*arguments), num_frames=3))
    with pytest.raises(ConfigError, match="num_frames is 3, the router was trained with 4"):
        load_run(trained)


def test_cameras_are_recognised_at_every_resolution():
    views = camera(1, width=48, height=32)
    same = [replace(views, **{name: getattr(views, name) * 2 for name in ("fx", "fy", "cx", "cy", "width", "height")})]
    moved = views.world_to_camera.clone()
    moved[0, 3] += 0.001
    others = [replace(views, cx=views.cx + 0.1), replace(views, fx=views.fx * 1.01)]
    others.append(replace(views, world_to_camera=moved))
    assert {camera_hash(each) for each in same} == {camera_hash(views)}
    assert len({camera_hash(each) for each in [views, *others]}) == 4


def test_changed_cameras_are_refused_by_a_training_and_told_by_a_rendering(tmp_path, monkeypatch, capsys):
    arguments = use_small_world(monkeypatch, tmp_path)
    given = [*arguments, f"--save_path={tmp_path / 'out'}", "--iterations", "2", "--test_iterations"]
    assert train.main("E3", given) == 0
    scene = random_scene(tmp_path)
    moved = tuple(replace(view, camera=replace(view.camera, cx=view.camera.cx + 1)) for view in scene.views)
    monkeypatch.setattr(engine.runs.scene, "load_scene", lambda source, options: replace(scene, views=moved))
    capsys.readouterr()
    assert train.main("E3", [f"--save_path={tmp_path / 'out'}", "--resume", "--quiet", "--iterations=4"]) == 2
    assert "other cameras than" in (message := capsys.readouterr().err) and "(cam00 and 2 more)" in message
    load_run(tmp_path / "out")
    assert "other cameras than the router was trained with (cam00 and 2 more)" in capsys.readouterr().err


def test_footage_that_was_replaced_is_known(tmp_path):
    film = write_film(tmp_path / "scene")
    run = replace(small_run(tmp_path), scene=load_scene(film, SceneOptions(cache=tmp_path / "cache", progress=False)))
    saved = SavedRouter(
        folder=tmp_path, iteration=1, ensemble="E3", router=run.router, experts=(), scene=scene_facts(run)
    )
    assert other_footage(saved.scene, run) == [] and len(saved.scene["footage"]) == len(run.scene.views)
    source = next(iter(run.scene.sources.values()))
    path = source.files(0, 1)[0]
    path.write_bytes(path.read_bytes() + b"0")
    assert other_footage(saved.scene, run) == [run.scene.views[0].name]
    with pytest.raises(ConfigError, match=f"other footage than .* was trained with .{run.scene.views[0].name}"):
        check_same(saved, run, ())
    path.unlink()
    assert scene_facts(run)["footage"][run.scene.views[0].name] == 0, "a save does not fail for it"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(UnwrittenError, match=r"iteration_3: cannot be written \(.*File too large.*\); free space"):
            save_checkpoint(tmp_path, small_run(tmp_path), 3, experts=(), state={"seed": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "router").iterdir())


def test_changed_facts_and_states_are_noticed(trained):
    folder = checkpoint_folder(trained)
    path, whole = folder / FACTS, (folder / FACTS).read_text()
    for text in (whole.replace('"temperature": 1.0', '"temperature": 3.0'), whole.replace("cam00", "cam10")):
        assert text != whole
        path.write_text(text)
        with pytest.raises(CheckpointError, match=f"{FACTS}: changed since it was written"):
            load_checkpoint(folder)
    path.write_text(whole)
    state = load_file(folder / STATE)
    check_state(folder, state)
    with pytest.raises(CheckpointError, match=f"{STATE}: damaged .not the state"):
        check_state(folder, state | {"optimiser.0.exp_avg": state["optimiser.0.exp_avg"] + 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [("eval_temperature", 0), ("temperature", -1.0), ("temperature", "1"), ("eval_temperature", float("nan"))],
)
def test_numbers_out_of_range_are_named_with_their_key(trained, key, value):
    folder = checkpoint_folder(trained)
    facts = json.loads((folder / FACTS).read_text())
    del facts["hash"]  # as of an earlier version
    (folder / FACTS).write_text(json.dumps(facts | {key: value}))
    with pytest.raises(CheckpointError, match=f"{FACTS}: {key} is .*, a number from 1e-06 to 1e.06 expected"):
        load_checkpoint(folder)


def test_more_gaussians_than_the_tensors_have_take_no_memory(trained):
    folder = checkpoint_folder(trained)
    facts = json.loads((folder / FACTS).read_text())
    facts["experts"][0]["gaussians"] = 10**15
    del facts["hash"]
    (folder / FACTS).write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=f"{TENSORS}: not the tensors that router.json beside it describes"):
        load_checkpoint(folder)
