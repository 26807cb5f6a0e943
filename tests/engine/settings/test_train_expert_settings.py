from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import torch

from engine.errors import ConfigError
from engine.runs.cost import waiting_bytes
from engine.settings.training.experts import KEYS
from engine.settings.training.recipe import (
    _leaves,
    difference,
    flattened,
    parse_setting,
    setting_arguments,
    settings_of,
    with_settings,
)
from engine.settings.training.train_expert import RecipeConfig, TrainExpertConfig
from engine.settings.training.train_expert_reading import read_expert_settings
from engine.training.expert.choice import choose_preset, expert_of_key
from engine.training.expert.recipe import recipe_for
from engine.training.expert.start import choose_planes
from experts import EXPERTS, TRAINABLE
from experts.formats.torch_files import load_tensors, save_tensors
from experts.stg.training import STGTrainer
from experts.training.recipes.recipe import Recipe
from experts.training.samples_ahead import AHEAD
from moegs import main
from scenes.points.cloud import PointCloud
from tests.engine.expert_scene import run, write_film


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_film(tmp_path_factory.mktemp("footage"))


@pytest.fixture(scope="module")
def trained(film, tmp_path_factory) -> Path:
    """A finished training of STG, 3 iterations."""
    model = tmp_path_factory.mktemp("models") / "trained"
    assert run(film, model, "stg", "--iterations=3") == 0
    return model


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["ex4dg"], "no expert is called 'ex4dg'; did you mean ex4dgs?"),
        (["stg", "--preset=cook_spinage"], "--preset cook_spinage: STG has no such preset; did you mean cook_spinach?"),
        (["stg", "--set", "dsim=0.1"], "recipe: STGRecipe has no 'dsim'; did you mean dssim?"),
        (["freetime", "--set", "means.first=1"], "has no 'means.first'; did you mean rates.gaussians.means.first?"),
        (
            ["freetime", "--set", "learning=1"],
            "has no 'learning'; nearest: moving, kernel, density.kind; train_expert.json of a training lists all\n",
        ),
        (
            ["ex4dgs", "--set", "rates=3"],
            "recipe: rates is a table of Ex4DGSRecipe: set its entries, as rates.static.means.first=VALUE, "
            "rates.static.displacements.first=VALUE, rates.static.log_scales.first=VALUE; train_expert.json of a ",
        ),
        (
            ["freetime", "--set", "rates.times=none"],
            "rates.times is a table of FreeTimeRecipe: set its entries, as rates.times.first=VALUE, rates.times.last="
            "VALUE, rates.times.per_extent=VALUE\n",
        ),
        (["stg", "--set", "density={}"], "recipe: density is a table of STGRecipe: set its entries, as density.kind="),
        (["ex4dgs", "--set", "rates.means=3"], "mean rates.static.means.first or rates.dynamic.means.first?"),
        (["freetime", "--set", "means=3"], "has no 'means'; did you mean rates.gaussians.means.first?"),
        (["freetime", "--set", "density.dssim=1"], "has no 'density.dssim'; did you mean dssim?"),
        (["stg", "--set", "density.stop=soon"], "recipe: density.stop is 'soon': whole number expected"),
        (["stg", "--set", "dssim"], "--set dssim: name=value expected, for example --set dssim=0.1"),
        (["stg", "--set", "iterations=9"], "recipe: iterations is set by --iterations, which scales every schedule"),
        (["ed3dgs", "--near=1"], "--near is not used by E-D3DGS, whose planes are fixed; leave it out"),
        (["ed3dgs", "--segment=1"], "--segment is STG's; E-D3DGS is one model of the whole clip: leave it out"),
        (["stg", "--segments=4", "--segment=3"], "--segment 3: segments of 4 frames are 2; give 1 to 2"),
        (["stg", "--near=5", "--far=4"], "--near is 5 and --far 4: near must be less than far"),
        (["stg", "--near=1e6", "--far=2e6"], "no training camera shows a start point between STG's near plane, 1e+06"),
        (["stg", "--points=nowhere.ply"], "nowhere.ply: no such file"),
        (["stg", "--iterations=0"], "--iterations is 0: give more than 0"),
        (["stg", "--seed=-3"], "--seed is -3: give 0 or more"),
        (["stg", "--start_timestamp=-3"], "--start_timestamp is -3: frames are counted from 0"),
        (["stg", "--end_timestamp=-5"], "--end_timestamp is -5 and --start_timestamp 0: that leaves no frame"),
        (["stg", "--duration=0"], "--duration is 0: give 1 or more, or -1 for every frame"),
        (["stg", "--test_cameras"], "--test_cameras has no value: name one camera or more, or leave it out"),
        (["stg", "--itertions=9"], "--itertions is not a flag; did you mean --iterations?"),
        (["stg", "--opacity_lr=9"], "--opacity_lr is not a flag here: settings of a recipe are given by --set"),
        (["stg", "--resume", "--overwrite"], "--resume and --overwrite exclude each other: give one"),
        (["4dgaussians", "--set", "coarse_iterations=99"], "coarse_iterations is 99, more than the 30 iterations of"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(film, tmp_path, capsys, more, message):
    assert run(film, tmp_path / "model", *more) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
    assert not (tmp_path / "model" / "training").exists()


def test_folders_are_needed(film, tmp_path, capsys):
    assert main(["train-expert", "stg", "--quiet", f"--source_path={film}"]) == 2
    missing = "missing: --model_path (folder of the trained expert); see python moegs.py train-expert --help"
    assert capsys.readouterr().err == f"error: {missing}\n"
    assert main(["train-expert", "stg", "--quiet", f"--model_path={tmp_path}"]) == 2
    assert "missing: --source_path (folder of the scene);" in capsys.readouterr().err
    assert main(["train-expert", "--quiet"]) == 2
    named = f"missing: EXPERT (the expert to train: {KEYS}), --source_path (folder of the scene)"
    assert f"{named}, --model_path (folder of the trained expert)" in capsys.readouterr().err


def test_a_trained_folder_is_not_written_over_unasked(film, trained, tmp_path, capsys):
    before = (trained / "train_expert.json").read_bytes()
    assert run(film, trained, "stg", "--iterations=2") == 2
    assert "holds a training that reached iteration 3; add --resume to continue it" in capsys.readouterr().err
    assert (trained / "train_expert.json").read_bytes() == before
    copy = shutil.copytree(trained, tmp_path / "copy")
    assert run(film, copy, "stg", "--iterations=2", "--overwrite") == 0
    assert [path.name for path in (copy / "point_cloud").iterdir()] == ["iteration_2"]


def test_a_training_is_continued_only_with_its_settings(film, trained, capsys):
    assert run(film, trained, "stg", "--iterations=3", "--resume", "--set", "dssim=0.3") == 2
    assert (
        "saved with other settings (dssim: 0.2, now 0.3); give the same, or start again: with --overwrite, "
        in capsys.readouterr().err
    )
    settings = (trained / "train_expert_config.json").read_bytes()
    assert run(film, trained, "stg", "--iterations=3", "--resume", "--test_frames=2") == 0
    assert (trained / "train_expert_config.json").read_bytes() == settings


@pytest.mark.parametrize(
    ("expert", "setting", "said"),
    [
        ("stg", "batch=0", "batch is 0: give 1 or more"),
        ("stg", "sh_every=0", "sh_every is 0: give 1 or more"),
        ("stg", "density.every=0", "density.every is 0: give 1 or more"),
        ("stg", "guidance.per_ray=-1", "guidance.per_ray is -1: give 0 or more"),
        ("ed3dgs", "rate_iterations=0", "rate_iterations is 0: give 1 or more"),
        ("freetime", "batch=-1", "batch is -1: give 1 or more"),
        ("4dgaussians", "sh_degree=9", "sh_degree is 9: give 0 to 3"),
        ("freetime", "sh_degree=-1", "sh_degree is -1: give 0 to 3"),
        ("freetime", "longest_width=0", "longest_width is 0: give more than 0"),
        ("freetime", "first_hold=-1", "first_hold is -1: give more than 0"),
        ("freetime", "life_penalty=-1", "life_penalty is -1: give 0 or more"),
        ("freetime", "lpips=NaN", "lpips is nan: give 0 or more"),
        ("freetime", "l2=5", "l2 is 5: give 0 to 1"),
        ("freetime", "rays_at=[300, 0]", "rays_at holds 0: give 1 or more"),
        ("ex4dgs", "l1=-1", "l1 is -1: give 0 or more"),
        ("ed3dgs", "dssim=1.5", "dssim is 1.5: give 0 to 1"),
        ("stg", "density.start=-5", "density.start is -5: give 0 or more"),
        ("stg", "density.reset_to=0", "density.reset_to is 0: give more than 0, at most 1"),
        ("4dgaussians", "density.max_gaussians=0", "density.max_gaussians is 0: give 1 or more"),
        ("4dgaussians", "density.gradient=Infinity", "density.gradient is inf: give 0 or more"),
        ("stg", "trbf_log_width=NaN", "trbf_log_width is nan: give a finite number"),
        ("stg", "rates.segments.0.means.first=-1e-4", "rates.segments.0.means.first is -0.0001: give 0 or more"),
        ("stg", "rates.segments.0.means.last=0", "rates.segments.0.means.last is 0: give more than 0"),
    ],
)
def test_numbers_that_mean_nothing_in_a_recipe_are_refused(film, tmp_path, capsys, expert, setting, said):
    assert run(film, tmp_path / "model", expert, "--set", setting) == 2
    assert f"cannot be trained like this: {said}" in capsys.readouterr().err


def test_a_training_that_was_saved_before_a_setting_existed_is_continued(film, trained, tmp_path, capsys):
    model = shutil.copytree(trained, tmp_path / "model")
    path = model / "training" / "iteration_3.pt"
    state = load_tensors(path)
    facts = json.loads(state["facts"])
    for name in ("generalise.dropout", "density.kind", "seed"):
        del facts[name]
    save_tensors({**state, "facts": json.dumps(facts | {"seed": 0})}, path)
    assert run(film, model, "stg", "--iterations=3", "--resume", "--set", "generalise.dropout=0.1") == 2
    assert "(generalise.dropout: 0.0, now 0.1); give the same" in capsys.readouterr().err
    assert run(film, model, "stg", "--iterations=3", "--resume") == 0
    save_tensors({**state, "facts": json.dumps(facts)}, path)  # no setting of the recipe: it was always there
    assert run(film, model, "stg", "--iterations=3", "--resume") == 2
    assert "(seed: absent, now 0); give the same" in capsys.readouterr().err


def test_resume_takes_the_settings_that_were_left(film, trained):
    config = read_expert_settings(["stg", f"--model_path={trained}", "--resume"], prog="", description="")
    assert (config.data.source_path, config.recipe.iterations) == (film, 3)
    assert config.output.resume and config.recipe.segment is None


def test_a_damaged_state_is_an_error(film, trained, tmp_path, capsys):
    copy = shutil.copytree(trained, tmp_path / "copy")
    path = copy / "training" / "iteration_3.pt"
    path.write_bytes(path.read_bytes()[:-100])
    assert run(film, copy, "stg", "--iterations=3", "--resume") == 2
    assert "iteration_3.pt: is truncated or damaged" in capsys.readouterr().err
    torch.save({"format": 1, "iteration": 3, "facts": "{}"}, path)
    assert run(film, copy, "stg", "--iterations=3", "--resume") == 2
    assert "saved with other settings" in capsys.readouterr().err


def test_another_cut_is_not_put_into_the_same_folder(film, trained, capsys):
    assert run(film, trained, "stg", "--iterations=3", "--segments=4", "--overwrite") == 2
    assert "holds one model of a whole clip, this training makes 2 segments" in capsys.readouterr().err


def test_a_model_that_is_not_what_was_saved_is_never_left(film, tmp_path, capsys, monkeypatch):
    from engine.training.expert import saves as expert_saves

    real = expert_saves.load_expert

    def spoiled(name, path, options):
        expert = real(name, path, options)
        with torch.no_grad():
            expert.parts[0].sh_dc += 0.1
        return expert

    monkeypatch.setattr(expert_saves, "load_expert", spoiled)
    assert run(film, tmp_path / "model", "stg", "--iterations=1") == 2
    assert "STG read back from disk differs from the model that was saved by" in capsys.readouterr().err
    assert not list((tmp_path / "model").glob("point_cloud/*"))
    assert not list((tmp_path / "model").glob(".saving_*"))


def test_a_save_that_its_own_expert_does_not_recognise_is_named_as_a_fault_of_its_row(
    film, tmp_path, capsys, monkeypatch
):
    wrong = replace(EXPERTS["STG"], signature=("velocity_0",))
    monkeypatch.setitem(EXPERTS, "STG", wrong)
    assert run(film, tmp_path / "model", "stg", "--iterations=1") == 2
    message = capsys.readouterr().err
    assert f"{tmp_path / 'model'}: STG cannot be loaded from what was just saved (" in message
    assert "a fault of `save`, `load` or `signature` in its row of EXPERTS, not of your command" in message
    assert not list((tmp_path / "model").glob("point_cloud/*"))


def test_values_that_are_not_finite_are_not_saved(film, tmp_path, capsys, monkeypatch):
    def spoils(trainer, iteration):
        trainer.populations[0]["omegas"].fill_(float("nan"))

    monkeypatch.setattr(STGTrainer, "control", spoils)
    assert run(film, tmp_path / "model", "stg", "--iterations=1") == 2
    assert "STG holds values that are not finite after iteration 1, which is not saved" in capsys.readouterr().err
    assert not list((tmp_path / "model").glob("*/iteration_1*"))


@dataclass(frozen=True, kw_only=True)
class _Inner:
    stop: int | None = 9


@dataclass(frozen=True, kw_only=True)
class _Small:
    dssim: float = 0.2
    inner: _Inner = field(default_factory=_Inner)
    table: dict[str, _Inner] = field(default_factory=lambda: {"a.b": _Inner(stop=1)})
    on: bool = True


def test_settings_of_tables_have_dotted_names():
    assert settings_of(_Small()) == {"dssim": 0.2, "inner.stop": 9, "table.a.b.stop": 1, "on": True}
    changed = with_settings(_Small(), {"inner.stop": None, "table.a.b.stop": 5, "on": False}, where="x")
    assert (changed.inner.stop, changed.table["a.b"].stop, changed.on, changed.dssim) == (None, 5, False, 0.2)
    with pytest.raises(ConfigError, match=r"x: _Small has no 'inner.stopp'; did you mean inner.stop\?"):
        with_settings(_Small(), {"inner.stopp": 1}, where="x")


def test_words_give_values():
    given = ["a=1", "b=1e-3", "c=True", "d=none", "e=[1, 2]", "f=own", "g.h=-2"]
    values = dict(map(parse_setting, given))
    assert values == {"a": 1, "b": 1e-3, "c": True, "d": None, "e": [1, 2], "f": "own", "g.h": -2}
    assert dict(map(parse_setting, setting_arguments(values))) == values
    assert flattened({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
    assert difference({"a": 1, "iterations": 2}, {"a": 2, "iterations": 3}, unsaved={}) == "iterations: 2, now 3"
    assert (
        difference({"a": 1}, {"a": 1}, unsaved={}) is None
        and difference({"a": 1}, {"a": 2}, unsaved={}) == "a: 1, now 2"
    )


def test_words_come_after_the_file_and_the_file_after_the_preset(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"iterations": 3000, "density": {"every": 7}, "l1": 0.5, "preset": "flame_steak"}))
    argv = ["stg", f"--config={path}", "--set", "l1=0.6", "--dssim=0.1", "--source_path=film", "--model_path=model"]
    config = read_expert_settings(argv, prog="", description="")
    spec = expert_of_key("STG")
    name, preset = choose_preset(spec, config.recipe.preset, scene="film", layout="n3v")
    recipe = recipe_for(config, spec, preset)
    assert (name, recipe.iterations, recipe.density.every) == ("flame_steak", 3000, 7)
    assert (recipe.l1, recipe.dssim) == (0.6, 0.1)
    assert recipe.density.stop == preset.recipe.density.stop // 10  # schedules follow the length


def test_a_config_of_the_routers_training_is_refused_before_anything_is_read(tmp_path, capsys):
    path = tmp_path / "scene.json"
    path.write_text(json.dumps({"near": 4, "rgb_lr": 0.05}))
    arguments = [f"--config={path}", f"--source_path={tmp_path / 'none'}", f"--model_path={tmp_path / 'model'}"]
    assert main(["train-expert", "stg", "--quiet", *arguments]) == 2
    assert "rgb_lr is a setting of the router's training; leave --config out here" in capsys.readouterr().err


def test_l1_makes_up_one_with_dssim_where_it_did():
    for argument, l1 in (("stg", 0.6), ("ed3dgs", 1.0)):
        spec = expert_of_key(argument)
        config = TrainExpertConfig(recipe=RecipeConfig(dssim=0.4))
        recipe = recipe_for(config, spec, spec.training.presets["n3v"])
        assert (recipe.l1, recipe.dssim) == (pytest.approx(l1), 0.4)


@pytest.mark.parametrize("expert", TRAINABLE)
def test_presets_follow_the_scenes_name(expert):
    spec = EXPERTS[expert]
    for scene, layout, expected in (
        ("flame_steak", "n3v", "flame_steak"),
        ("cook_spinach_half", "n3v", "cook_spinach"),
        ("Birthday", "technicolor", "Birthday"),
        ("kitchen", "n3v", "n3v"),
        ("kitchen", "technicolor", "technicolor"),
    ):
        name, preset = choose_preset(spec, "auto", scene=scene, layout=layout)
        assert name == expected and isinstance(preset.recipe, Recipe)
    presets = spec.training.presets
    assert presets["n3v"].planes is None and (presets["sear_steak"].planes is not None) == spec.has_planes


@pytest.mark.parametrize("expert", TRAINABLE)
def test_the_fast_preset_is_the_scenes_own_in_fewer_iterations(expert):
    spec = EXPERTS[expert]
    most_of = 1.0 if expert == "4DGaussians" else 0.8  # its published length is short enough, with a limit on Gaussians
    for scene, layout in (
        ("flame_steak_half", "n3v"),
        ("coffee_martini", "n3v"),
        ("Birthday", "technicolor"),
        ("x", "n3v"),
    ):
        own_name, own = choose_preset(spec, "auto", scene=scene, layout=layout)
        name, short = choose_preset(spec, "fast", scene=scene, layout=layout)
        assert name == f"fast_{own_name}" and choose_preset(spec, name, scene="", layout="n3v") == (name, short)
        assert (short.planes, short.network) == (own.planes, own.network)
        assert short.recipe.iterations <= most_of * own.recipe.iterations
        assert short.recipe.density.gradient == own.recipe.density.gradient
        most, published = short.recipe.density.max_gaussians, own.recipe.density.max_gaussians
        assert most is not None and (published is None or most <= published)
        schedule = (short.recipe.density.start, min(short.recipe.density.stop, short.recipe.iterations))
        shrunk = own.recipe.rate_iterations * short.recipe.iterations / own.recipe.iterations
        assert schedule[0] < schedule[1] and short.recipe.rate_iterations == round(shrunk)


def test_the_fast_schedule_of_ed3dgs_keeps_phases_away_that_a_scene_does_not_have():
    presets = EXPERTS["E-D3DGS"].training.presets
    n3v, birthday = presets["fast_n3v"].recipe, presets["fast_Birthday"].recipe
    assert (n3v.iterations, n3v.density.stop, n3v.deform_from, n3v.coarse_to_fine) == (20000, 15000, 3000, 10000)
    assert n3v.options(300).use_anneal and birthday.coarse_to_fine is None and birthday.deform_from == 0


def test_planes_are_measured_where_no_scene_is_known(flat_run):
    presets, scene = EXPERTS["Ex4DGS"].training.presets, replace(flat_run.scene, rig_radius=2.0)
    depths = torch.linspace(2, 100, 99)
    cloud = PointCloud(
        positions=torch.stack([torch.zeros(99), torch.zeros(99), depths], 1),
        colours=torch.zeros(99, 3),
        frames=None,
        note="",
    )
    cloud = replace(cloud, positions=cloud.positions - torch.tensor([1.5, 0, 0]))  # between the training cameras
    measured = choose_planes(TrainExpertConfig(), presets["n3v"], scene, cloud, unit=1.0)
    assert 0.5 <= measured.near <= 4 and measured.far == pytest.approx(1000)
    asked = TrainExpertConfig(recipe=RecipeConfig(near=0.25))
    assert choose_planes(asked, presets["n3v"], scene, cloud, unit=1.0).near == 0.25
    published = choose_planes(TrainExpertConfig(), presets["Fabien"], scene, cloud, unit=2.0)
    assert (published.near, published.far) == (0.02, 200)  # the model's units are the rig's radius


def test_every_setting_of_every_recipe_can_be_given_by_name():
    for spec in TRAINABLE.values():
        recipe = spec.training.presets["n3v"].recipe
        assert with_settings(recipe, json.loads(json.dumps(settings_of(recipe))), where="itself") == recipe


def test_every_choice_of_every_recipe_can_be_given_as_a_word():
    given = 0
    for spec in TRAINABLE.values():
        recipe = spec.training.presets["n3v"].recipe
        for name, (_, annotation) in _leaves(recipe).items():
            for choice in get_args(annotation) if get_origin(annotation) is Literal else ():
                values = dict([parse_setting(f"{name}={choice}")])
                assert settings_of(with_settings(recipe, values, where="x"))[name] == choice
                given += choice == "none"
    assert given >= 3  # "none" means no value elsewhere


def test_every_switch_is_in_the_docs():
    text = (Path(__file__).parents[3] / "docs" / "train_expert.md").read_text()
    for spec in TRAINABLE.values():
        settings = settings_of(spec.training.presets["n3v"].recipe)
        switches = {name: value for name, value in settings.items() if isinstance(value, bool)}
        defaults = {name: str(on).lower() for name, on in switches.items() if "per_extent" not in name}
        rows = re.findall(rf"^\| {re.escape(spec.name)} \| `(.+?)` \| (true|false) \|", text, re.MULTILINE)
        assert dict(rows) == defaults and len(rows) == len(defaults)


def test_the_memory_stated_in_the_docs_is_that_of_the_code(flat_run):
    text = (Path(__file__).parents[3] / "docs" / "train_expert.md").read_text()
    camera = replace(flat_run.scene.views[0].camera, width=1352, height=1014)
    views = tuple(replace(flat_run.scene.views[0], camera=camera) for _ in range(21))
    scene = replace(flat_run.scene, views=views, train=tuple(range(1, 21)), num_frames=300)
    gpu, cpu = (waiting_bytes(scene, images=AHEAD, gpu=gpu) / 1e6 for gpu in (True, False))
    disk = len(views) * scene.num_frames * 1352 * 1014 * 3
    stated = (
        f"Twenty-one cameras with 300 frames of 1352x1014 px take {disk / 1e9:.1f} GB on disk. "
        f"In memory they take at most {gpu:.1f} MB (GPU, one image per iteration) or {cpu:.1f} MB (CPU)"
    )
    assert stated in text.replace("\n", " ")
