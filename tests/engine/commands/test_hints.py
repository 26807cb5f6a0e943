"""Command lines that are printed for the user can be pasted into a shell, whatever their folders are called."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import moegs
from common.text.wording import ROOT
from engine.settings.training.experts import folder_argument, name_and_folder
from scenes import SceneError, SceneOptions, load_scene
from scenes.frames.clip import choose_clip
from scenes.layouts.n3v.naming import probe
from tests.engine.expert_scene import run as train_expert
from tests.engine.expert_scene import write_film
from tests.scenes.scene_folders import draw, write_video
from tests.warm_python import write_stand_in

NAME = "it's a  film (ü)"


def paste(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command line in a shell whose `python` is a process like this one."""
    write_stand_in(folder / "bin" / "python", "product")
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_at_the_end_of_a_training_renders_it(tmp_path, monkeypatch, capsys):
    root = tmp_path / NAME
    root.mkdir()
    film, experts = write_film(root), []
    for key, name in (("4dgaussians", "4DGaussians"), ("stg", "STG")):
        assert train_expert(film, root / name, key, "--iterations=1") == 0
        experts.append(f"--expert={name}={root / name}")
    shared = [f"--source_path={film}", f"--cache_path={root / 'cache'}", "--device=cpu", "--iterations=1"]
    capsys.readouterr()
    monkeypatch.chdir(root)
    assert moegs.main(["train", *shared, *experts, "--test_iterations", "--save_path=my run"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("training finished")]
    command = line.split("to render and score it: ")[1]
    script, *words = shlex.split(command)[1:]
    assert script == str(ROOT / "moegs.py")
    assert words == ["render", "--save_path", str(root / "my run"), "--iteration", "1", "--skip_train"]
    done = paste(f"{command} --constant_frames 0", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (root / "my run" / "test" / "itrs_1" / "metrics.json").is_file()


def test_the_command_for_videos_of_other_names_prepares_them(tmp_path, monkeypatch, capsys):
    root = tmp_path / NAME
    root.mkdir()
    for name in ("left.mp4", "right.mp4"):
        write_video(root / name, [draw(0, 0, 64, 48)])
    monkeypatch.chdir(tmp_path)
    given = ["train-expert", "stg", f"--source_path={NAME}", f"--model_path={tmp_path / 'model'}"]
    assert moegs.main([*given, "--quiet"]) == 2
    error = capsys.readouterr().err
    command = error.strip().split("run: ")[1]
    assert shlex.split(command)[2:] == ["prepare", "videos", NAME]
    done = paste(command, tmp_path)
    assert f"{NAME}: videos found: 2; structure from motion needs at least 3" in done.stderr


def test_the_command_that_encodes_a_video_names_its_file(tmp_path):
    (tmp_path / NAME).mkdir()
    for name, rate in (("cam00", 30), ("cam01", 25)):
        write_video(tmp_path / NAME / f"{name}.mp4", [draw(0, frame, 64, 48) for frame in range(3)], rate=rate)
    sources = {name: probe(tmp_path / NAME / f"{name}.mp4") for name in ("cam00", "cam01")}
    with pytest.raises(SceneError) as failure:
        choose_clip(sources, SceneOptions(cache=tmp_path))
    making, encoding = str(failure.value).split("for example ")[1].split(" && ")
    new = tmp_path / NAME / "new"
    assert shlex.split(making) == ["mkdir", "-p", str(new)]
    video = str(tmp_path / NAME / "cam00.mp4")
    assert shlex.split(encoding) == ["ffmpeg", "-i", video, "-vf", "fps=25", str(new / "cam00.mp4")]


@pytest.mark.parametrize("by_name", [True, False])
def test_an_experts_folder_can_be_pasted(by_name):
    flag, value = shlex.split(folder_argument("STG", Path(NAME), by_name=by_name))
    assert (flag, value) == (("--expert", f"STG={NAME}") if by_name else ("--stg_path", NAME))
    if by_name:
        assert name_and_folder(value) == ("STG", Path(NAME))


def test_spaces_in_a_path_reach_the_error_line(tmp_path, capsys):
    assert moegs.main(["prepare", "videos", str(tmp_path / NAME)]) == 2
    error = capsys.readouterr().err
    assert shlex.split(re.split(": no such folder", error)[0].removeprefix("error: SCENE ")) == [str(tmp_path / NAME)]


def test_a_folder_that_is_no_scene_is_an_error_of_one_line(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(SceneError) as failure:
        load_scene(tmp_path / NAME, SceneOptions(cache=tmp_path / "cache"))
    assert "\n" not in str(failure.value)
