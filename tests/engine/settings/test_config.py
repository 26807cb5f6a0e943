from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.settings.parsing.command_help import CommandHelp
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.config_file import read_config_file, write_config_file
from engine.settings.parsing.fields import leaves, values_of, with_values
from engine.settings.parsing.retired import RETIRED
from engine.settings.rendering.render import RenderConfig
from engine.settings.training.run import RunConfig, evaluation_iterations, save_iterations
from engine.settings.training.run_checks import check_config
from engine.settings.training.train import read_any_train_settings
from experts import EXPERTS
from router import ENSEMBLES, HEADS, ensembles_with
from scenes.layouts import LOADERS

ROOT = Path(__file__).resolve().parents[3]

# The keys and values of the paper's repository's files: N3V/cook_spinach.json and techni/Painter.json.
N3V = json.loads("""{
    "mini_batch": 1, "densify_grad_threshold": 2e-4, "densify_dgrad_threshold": 1e-4, "s_max_ssim": 0.6,
    "d_max_ssim": 0.6, "s_l1_thres": 0.08, "d_l1_thres": 0.08, "resolution": 2, "duration": -1,
    "start_duration": 10, "time_interval": 10, "time_pad": 2, "time_pad_type": 0, "iterations": 5000,
    "near": 4.0, "far": 300.0, "densification_interval": 500, "densify_from_iter": 100,
    "densify_until_iter": 30000, "dynamic_position_lr_init": 1.6e-4, "opacity_motion_lr": 0.01,
    "opacity_motion_center_lr": 0.01, "opacity_motion_var_lr": 1e-4, "progressive_growing_steps": 400,
    "extracton_interval": 3980, "make_dynamic_interval": 100, "opacity_reset_interval": 50000,
    "static_reg": 1e-4, "motion_reg": 1e-4, "lambda_flow": 0, "port": 9000, "interp_type": "cube",
    "loader": "neural3dvideo", "lazy_loader": true, "random_background": true, "prune_weight_threshold": 1e-5,
    "exp_name": "cook_spinach", "featuret_lr": 0.5, "feature_lr": 0.05, "rgb_lr": 0.05
}""")
TECHNICOLOR = json.loads("""{
    "resolution": 1, "duration": 50, "mini_batch": 1, "start_duration": 10, "time_interval": 10, "time_pad": 3,
    "var_pad": 3, "time_pad_type": 0, "iterations": 5000, "near": 0.01, "far": 300, "densify_from_iter": 500,
    "extract_every": 1, "make_dynamic_interval": 100, "opacity_reset_interval": 5000000, "s_max_ssim": 0.6,
    "s_l1_thres": 0.08, "d_max_ssim": 0.6, "d_l1_thres": 0.08, "motion_reg": 1e-4, "rot_reg": 0,
    "lambda_flow": 0, "interp_type": "cube", "loader": "technicolor", "lazy_loader": true,
    "random_background": true, "start_timestamp": 100, "end_timestamp": 150, "featuret_lr": 0.1,
    "feature_lr": 0.01, "rgb_lr": 0.01, "densification_interval": 300, "extract_from_iter": 500,
    "densify_until_iter": 25000, "progressive_growing_steps": 400, "extracton_interval": 3777,
    "densify_grad_threshold": 2.5e-4, "densify_dgrad_threshold": 8e-5, "static_reg": 2e-4,
    "opacity_motion_center_lr": 0.001, "opacity_motion_var_lr": 0.001, "dynamic_position_lr_init": 1.6e-4,
    "feature_motion_lr": 2.5e-4, "opacity_motion_lr": 1e-4, "port": 9000
}""")


PAGE = CommandHelp(prog="train_E4.py", about="", examples=())


def parsed(*arguments: str) -> RunConfig:
    return parse(RunConfig, arguments, defaults=RunConfig(), page=PAGE)


def written(folder: Path, content: object) -> Path:
    path = folder / "settings.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_command_line_beats_json_beats_defaults(tmp_path):
    path = written(tmp_path, {"resolution": 2, "near": 4, "iterations": 5000})
    config = parsed("--config", str(path), "-r", "4")
    assert (config.data.resolution, config.experts.near, config.training.iterations) == (4, 4.0, 5000)
    assert (config.training.lambda_dssim, config.experts.far) == (0.2, None)
    assert parsed("--configpath", str(path)).data.resolution == 2
    assert parsed("-r", "4", f"--config={path}") == replace(config, config=path)


@pytest.mark.parametrize(
    ("scene", "extra", "line"),
    [
        ("data/cook_spinach", (), "configs/N3V/cook_spinach.json"),
        ("data/Birthday/", (), "configs/techni/Birthday.json"),
        ("data/mine", (), None),
        ("data/cook_spinach", ("--config", "configs/N3V/cook_spinach.json"), None),
    ],
)
def test_the_papers_settings_of_a_scene_are_pointed_to(caplog, scene, extra, line):
    caplog.set_level(logging.INFO)
    flags = ["--source_path", scene, "--save_path", "out", "--expert", "STG=a", "--expert", "Ex4DGS=b", *extra]
    read_any_train_settings(
        [str(ROOT / flag) if flag.startswith("configs/") else flag for flag in flags], prog="", description=""
    )
    told = [message for message in caplog.messages if message.startswith("no --config")]
    start = "no --config: default settings; the paper's settings of this scene: "
    assert told == ([] if line is None else [f"{start}{ROOT / line}"])


@pytest.mark.parametrize("content", [N3V, TECHNICOLOR], ids=["N3V", "techni"])
def test_upstreams_files_are_accepted_unchanged(tmp_path, caplog, content):
    caplog.set_level(logging.INFO)
    config = parsed("--config", str(written(tmp_path, content)))
    values = values_of(config)
    used = set(content) & set(values)
    assert {"iterations", "resolution", "near", "far", "loader", "featuret_lr", "feature_lr", "rgb_lr"} <= used
    assert {key: values[key] for key in used} == {key: content[key] for key in used}
    assert f"ignored {len(content) - len(used)} keys of expert training (mini_batch, " in caplog.text
    assert len(caplog.records) == 1


def test_every_experts_folder_has_its_flag_in_training_and_rendering():
    flags = [spec.flag for spec in EXPERTS.values()]
    for config_type in (RunConfig, RenderConfig):
        assert [name for name in leaves(config_type) if name in flags] == flags
    for group in ("experts", "overrides"):
        config_type = RunConfig if group == "experts" else RenderConfig
        config = parse(config_type, ["-m", "a", "--emb_path=b"], defaults=config_type(), page=PAGE)
        given = getattr(config, group)
        assert (given.model_path, given.emb_path, given.stg_path) == (Path("a"), Path("b"), None)


def test_no_setting_is_retired():
    assert not set(RETIRED) & set(leaves(RunConfig))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.json")), ids=lambda path: path.stem)
def test_shipped_files_hold_nothing_dead(path):
    content = json.loads(path.read_text())
    assert set(content) <= set(leaves(RunConfig))
    assert read_config_file(path, RunConfig) == content


def test_every_scene_of_the_paper_has_a_file():
    names = {folder: {path.stem for path in (ROOT / "configs" / folder).glob("*.json")} for folder in ("N3V", "techni")}
    variants = {"sear_steak_0.5", "sear_steak_0.25", "sear_steak_0.125"}
    scenes = {"coffee_martini", "cook_spinach", "cut_roasted_beef", "flame_salmon_1", "flame_steak", "sear_steak"}
    assert names == {"N3V": scenes | variants, "techni": {"Birthday", "Fabien", "Painter", "Theater", "Train"}}


FAULTS = [
    ({"resolutions": 2}, "unknown key 'resolutions'; did you mean resolution?"),
    ({"resolution": "2"}, "resolution is '2': whole number expected"),
    ({"iterations": 10.5}, "iterations is 10.5: whole number expected"),
    ({"quiet": 1}, "quiet is 1: true or false expected"),
    ({"near": True}, "near is True: number or null expected"),
    ({"test_iterations": [5, "x"]}, "test_iterations[1] is 'x': whole number expected"),
    ({"loader": "colmap"}, f"loader is 'colmap': {' or '.join(map(repr, LOADERS))} or null expected"),
    ({"rgbfunction": "sandwich"}, f"rgbfunction is 'sandwich': {' or '.join(map(repr, HEADS))} expected"),
    ({"trust_checkpoint": True}, "trust_checkpoint can only be given on the command line; remove it here"),
    ([], "holds a list; one JSON object of settings expected"),
    ('{"near": 1, "near": 2}', "near given twice; keep one"),
    ('{"near": 1', "not a JSON file (Expecting ',' delimiter: line 1 column 11 (char 10)); mend it"),
]


@pytest.mark.parametrize(("content", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_faulty_files_are_refused_in_one_line(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(ConfigError) as error:
        read_config_file(path, RunConfig)
    assert str(error.value).removeprefix(str(path)).lstrip(": ") == message


def test_a_missing_file_names_those_beside_where_it_should_be(tmp_path):
    there = written(tmp_path, {})
    with pytest.raises(ConfigError, match=f"no such configuration file; available: {there}"):
        read_config_file(tmp_path / "other.json", RunConfig)


def test_a_dump_reads_back_as_the_same_settings(tmp_path):
    config = parsed("-s", "/scene", "--save_path", str(tmp_path), "--test_iterations", "5", "--far", "9", "--quiet")
    values = read_config_file(write_config_file(tmp_path / "config.json", config), RunConfig)
    assert with_values(RunConfig(), values) == config


def test_a_dump_keeps_paths_valid_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_config_file(tmp_path / "config.json", parsed("-s", "scene", "--trust_checkpoint", "--resume"))
    content = json.loads(path.read_text())
    assert content["source_path"] == str(tmp_path / "scene")
    assert not {"trust_checkpoint", "resume", "overwrite", "config", "debug"} & set(content)


def test_default_steps_end_with_the_last_iteration():
    config = parsed("--iterations", "5500")
    assert evaluation_iterations(config, ENSEMBLES["E3"]) == (500, 2000, 5000, 5500)
    assert evaluation_iterations(config, ENSEMBLES["E3_tech"]) == (2000, 5000, 5500)
    assert save_iterations(config, ENSEMBLES["E4"]) == (500, 1000, 2000, 3000, 4000, 5000, 5500)


def test_given_steps_are_taken_as_they_are_but_the_end_is_always_saved():
    config = parsed("--iterations", "300", "--test_iterations", "900", "100", "--save_iterations", "200")
    assert evaluation_iterations(config, ENSEMBLES["E4"]) == (100,)
    assert save_iterations(config, ENSEMBLES["E4"]) == (200, 300)
    assert evaluation_iterations(parsed("--test_iterations"), ENSEMBLES["E4"]) == ()


WRONG = [
    (["--iterations", "0"], "--iterations is 0: give more than 0"),
    (["--temperature", "0"], "--temperature is 0.0: give more than 0"),
    (["--temperature", "nan"], "--temperature is nan: give more than 0"),
    (["--featuret_lr", "-1"], "--featuret_lr is -1.0: give 0 or more"),
    (["--lambda_gates", "-1"], "--lambda_gates is -1.0: give 0 or more"),
    (["--lambda_lpips", "-1"], "--lambda_lpips is -1.0: give 0 or more"),
    (["--lambda_dssim", "1.5"], "--lambda_dssim is 1.5: give a share between 0 and 1"),
    (["--save_iterations", "5", "0"], "--save_iterations holds 0: iterations are counted from 1"),
    (["--resume", "--overwrite"], "--resume and --overwrite exclude each other: give one"),
    (
        ["--stg_path", "x"],
        f"--stg_path is not used by E3: {' and '.join(f'train_{name}.py' for name in ensembles_with('STG'))} use it; "
        "leave it out",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_values_out_of_range_are_refused(tmp_path, arguments, message):
    paths = [f"{flag}={tmp_path}" for flag in ("-s", "--save_path", "-m", "--emb_path", "--fgaussian_path")]
    with pytest.raises(ConfigError) as error:
        check_config(parsed(*paths, *arguments), ENSEMBLES["E3"])
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"temperature": 0}', "temperature is 0: a number from 1e-06 to 1e+06 expected"),
        ('{"eval_temperature": NaN}', "eval_temperature is nan"),
        ('{"near": -1}', "near is -1"),
        ('{"near": 1e30}', "near is 1e+30"),
        ('{"far": Infinity}', "far is inf"),
        ('{"rgb_lr": -0.1}', "rgb_lr is -0.1"),
        ('{"featuret_lr": 1e300}', "featuret_lr is 1e+300"),
        ('{"lambda_gates": Infinity}', "lambda_gates is inf"),
        ('{"lambda_lpips": -1}', "lambda_lpips is -1"),
        ('{"lambda_dssim": 2}', "lambda_dssim is 2"),
    ],
)
def test_numbers_of_a_file_that_are_out_of_range_are_named_with_file_and_key(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config_file(path, RunConfig)
    assert f"{path}: {message}" in str(caught.value)
