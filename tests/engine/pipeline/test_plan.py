from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.pipeline.jobs import Job
from engine.pipeline.plan import find_scenes, plan_scene
from engine.settings.run_all import RunAllConfig, joined


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Folders of scenes as downloaded, one that is prepared, one of unknown cameras, and one that is none."""
    files = {
        "flame_steak": ("cam00.mp4", "poses_bounds.npy"),
        "mine": ("GX01.mp4",),
        "ready": ("cam00.mp4", "poses_bounds.npy", "points3D.ply"),
        "found": ("cam00.mp4", "poses_bounds.npy", "camera_names.json"),
        "Birthday": ("Birthday_undist_00151_00.png", "cameras_parameters.txt"),
        "zip": ("all.zip",),
    }
    for scene, names in files.items():
        (tmp_path / "data" / scene).mkdir(parents=True)
        for name in names:
            (tmp_path / "data" / scene / name).touch()
    return tmp_path / "data"


def commands(dataset: Path, scene: str, **settings) -> dict[str, str]:
    """The words of a scene's commands by step, with the folders of the data and the results cut off."""
    config = RunAllConfig(dataset=dataset, output=dataset.parent / "out", scenes=(scene,), **settings)
    (found,) = find_scenes(config)
    text = {job.step: " ".join(map(str, job.words)) for job in plan_scene(config, found)}
    return {step: line.replace(f"{dataset.parent}/", "") for step, line in text.items()}


def test_scenes_are_found_by_their_files(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    scenes = find_scenes(RunAllConfig(dataset=dataset, output=dataset / "out"))
    assert {scene.name: (scene.kind, scene.ensemble.name) for scene in scenes} == {
        "Birthday": ("technicolor", "E3_tech"),
        "flame_steak": ("n3v", "E4"),
        "found": ("videos", "E4"),
        "mine": ("videos", "E4"),
        "ready": ("n3v", "E4"),
    }
    assert f"left out: {dataset / 'zip'}: no cameras and no videos in it" in caplog.messages
    (one,) = find_scenes(RunAllConfig(dataset=dataset / "mine"))
    assert (one.name, one.root) == ("mine", dataset / "mine")


def test_a_published_scene_gets_its_published_settings(dataset: Path) -> None:
    planned = commands(dataset, "flame_steak", data_args="--duration 300", train_args="--seeds 3")
    experts = ("ex4dgs", "ed3dgs", "stg", "4dgaussians")
    assert list(planned) == ["prepare", *(f"expert_{key}" for key in experts), "train_E4", "render_E4"]
    assert planned["prepare"] == "moegs.py prepare n3v data/flame_steak"
    assert planned["expert_stg"] == (
        "moegs.py train-expert stg --source_path data/flame_steak --model_path out/flame_steak/experts/stg --resume "
        "--resolution 2 --duration 300"
    )
    train = planned["train_E4"]
    assert train.startswith("train_E4.py --source_path data/flame_steak --save_path out/flame_steak/E4 ")
    assert "--stg_path out/flame_steak/experts/stg " in train and "configs/N3V/flame_steak.json" in train
    assert train.endswith(" --resume --duration 300 --seeds 3")
    assert planned["render_E4"] == "render_E4.py --save_path out/flame_steak/E4 --skip_train"


def test_a_clip_inside_the_footage_is_that_of_every_step(dataset: Path) -> None:
    planned = commands(dataset, "Birthday")
    clip = "--start_timestamp 151 --end_timestamp 201"
    assert planned["prepare"] == f"moegs.py prepare technicolor data/Birthday {clip}"
    assert planned["expert_stg"].endswith(f" --resume --resolution 1 {clip} --duration 50")
    assert "configs/techni/Birthday.json" in planned["train_E3_tech"]


def test_frames_are_decoded_once_where_the_trainings_keep_them(dataset: Path) -> None:
    planned = commands(dataset, "flame_steak", data_args="--cache_path /disk/f --cache_gb=20 --duration 5")
    assert planned["train_E4"].endswith(" --cache_path /disk/f --cache_gb=20 --duration 5")
    render = "render_E4.py --save_path out/flame_steak/E4 --skip_train"
    assert planned["render_E4"] == f"{render} --cache_path /disk/f --cache_gb=20"
    own = commands(dataset, "flame_steak", data_args="--cache_path=/disk/f", render_args="--cache_path /ram")
    assert own["render_E4"] == f"{render} --cache_path /ram"
    config = RunAllConfig(dataset=dataset, scenes=("flame_steak",), data_args="--cache_path /disk/f")
    (scene,) = find_scenes(config)
    jobs = {job.step: job for job in plan_scene(config, replace(scene, prunes=True))}
    assert jobs["prune_E4"].words[-2:] == ("--cache_path", "/disk/f")


def test_no_image_is_rendered_again_for_other_flags_of_the_cache(dataset: Path) -> None:
    """Also of a run that was rendered before such flags were given to it. --cache_gb decides what a training sees."""

    def jobs(data_args: str) -> dict[str, Job]:
        config = RunAllConfig(
            dataset=dataset, output=dataset.parent / "out", scenes=("flame_steak",), data_args=data_args
        )
        return {job.step: job for job in plan_scene(config, find_scenes(config)[0])}

    steps = ("train_E4", "render_E4")
    for step in steps:
        job = jobs("")[step]
        results = job.folder / "E4" / ("router/iteration_5" if step == "train_E4" else "test/itrs_5/metrics.json")
        results.mkdir(parents=True)
        job.mark_done()
    for flags, is_current in (
        ("--cache_path /disk/f", [True, True]),
        ("--cache_gb 20 --cache_path=/disk/f --cache_mb 9", [False, True]),
        ("--duration 5", [False, True]),
        ("", [True, True]),
    ):
        assert [jobs(flags)[step].is_current() for step in steps] == is_current, flags


def test_a_preset_is_that_of_every_expert(dataset: Path) -> None:
    planned = commands(dataset, "flame_steak", ensemble="E3", preset="fast", expert_args="--seed 3")
    of_experts = [line for step, line in planned.items() if step.startswith("expert_")]
    assert len(of_experts) == 3 and all(line.endswith(" --preset fast --seed 3") for line in of_experts)
    assert not any("--preset" in line for step, line in planned.items() if not step.startswith("expert_"))


def test_steps_wait_for_what_they_need(dataset: Path) -> None:
    config = RunAllConfig(dataset=dataset, scenes=("flame_steak",), ensemble="E3")
    jobs = {job.step: job.after for job in plan_scene(config, find_scenes(config)[0])}
    experts = ("expert_ex4dgs", "expert_ed3dgs", "expert_4dgaussians")
    assert [jobs[step] for step in experts] == [("prepare",)] * 3
    assert jobs["train_E3"] == ("prepare", *experts) and jobs["render_E3"] == (*jobs["train_E3"], "train_E3")


def test_a_scene_with_cameras_and_points_is_not_prepared_unless_asked_to(dataset: Path) -> None:
    assert "prepare" not in commands(dataset, "ready")
    asked = commands(dataset, "ready", prepare_args="--every 30")
    assert asked["prepare"] == "moegs.py prepare n3v data/ready --every 30"
    assert commands(dataset, "mine")["prepare"] == "moegs.py prepare videos data/mine"
    assert commands(dataset, "found")["prepare"] == "moegs.py prepare videos data/found"  # as it was at first


def test_steps_can_be_left_out(dataset: Path) -> None:
    assert list(commands(dataset, "mine", skip=("prepare", "experts", "table"))) == ["train_E4", "render_E4"]


def test_missing_scenes_are_named(dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"--scenes flame_stake: .* no such scene; did you mean flame_steak"):
        commands(dataset, "flame_stake")
    with pytest.raises(ConfigError, match="no scene found; give the folder that holds the scenes' folders"):
        find_scenes(RunAllConfig(dataset=dataset / "zip"))


def test_flags_for_other_commands_are_not_ours() -> None:
    given = ["data", "--train_args", "--seeds 3", "--expert_args=--quiet", "--gpus", "0"]
    assert joined(given) == ["data", "--train_args=--seeds 3", "--expert_args=--quiet", "--gpus", "0"]


def test_a_step_builds_on_those_that_are_left_out(dataset: Path) -> None:
    """So that an expert trained by another call is seen by a call that skips experts."""
    config = RunAllConfig(dataset=dataset, output=dataset.parent / "out", scenes=("ready",), skip=("experts",))
    train, render = plan_scene(config, *find_scenes(config))
    experts = ("expert_ex4dgs", "expert_ed3dgs", "expert_stg", "expert_4dgaussians")
    assert (train.step, train.after) == ("train_E4", experts)
    assert (render.step, render.after) == ("render_E4", (*experts, "train_E4"))
