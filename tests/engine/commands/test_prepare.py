"""The command `prepare`: what it says, and how it ends; structure from motion is stood in for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import engine.commands.prepare
from engine.commands.prepare import preparation_summary
from engine.settings.parsing.command_line import exit_code
from engine.settings.parsing.fields import leaves
from engine.settings.prepare import KINDS, PrepareConfig, options_of, read_prepare_settings
from scenes.layouts import PREPARATIONS
from scenes.layouts.n3v.preparation import prepare_n3v
from scenes.preparation.report import PreparedCloud, PrepareReport, StepReport
from tests.scenes.preparation.stand_in import StandIn
from tests.scenes.scene_folders import write_n3v_scene, write_technicolor_scene

ROOT = Path(__file__).resolve().parents[3]
SCENE = f"SCENE (folder of the scene); see python {ROOT / 'moegs.py'} prepare --help"
MISTAKES = [
    ("", f"missing: KIND (kind of the scene: {', '.join(KINDS[:-1])} or {KINDS[-1]}), {SCENE}"),
    ("n3b", "nothing called 'n3b' can be prepared; did you mean n3v?"),
    ("n3v", f"missing: {SCENE}"),
    ("n3v nowhere", "SCENE nowhere: no such folder; nearest beside it: none"),
    ("n3v . --mapped_frame 3", "--mapped_frame is for videos whose cameras are unknown; leave it out for n3v"),
    ("technicolor . --accept_moving", "--accept_moving is for videos whose cameras are unknown; leave it out for "
     "technicolor"),
    ("n3v . --every 0", "--every is 0: give more than 0"),
    ("n3v . --threads 0", "--threads is 0: give more than 0"),
    ("n3v . --peak_threshold inf", "--peak_threshold is inf: give more than 0"),
    ("n3v . --start_timestamp -1", "--start_timestamp is -1: frames are counted from 0"),
    ("n3v . --all_frames --every 3", "--all_frames and --every 3 exclude each other: give one"),
    ("n3v . --videopath x", "--videopath is not a flag here: the scene's folder stands after the kind: python moegs.py "
     "prepare n3v SCENE"),
    ("n3v . --endframe 300", "--endframe is not a flag here: use --end_timestamp"),
    ("n3v . --acept_poor", "--acept_poor is not a flag; did you mean --accept_poor?"),
    ("n3v . --layouts stg", "invalid choice 'stg' for argument '--layouts'. Expected one of ('ed3dgs', "
     "'4dgaussians')."),
    ("n3v . other", "Unrecognized options: other"),
]  # fmt: skip


def run(arguments, *more: str) -> int:
    argv = [*map(str, arguments), *more]
    with exit_code(argv) as code:
        code.value = engine.commands.prepare.command(argv, prog="moegs.py prepare", description="")
    return code.value


@pytest.fixture
def stand_in(monkeypatch) -> StandIn:
    """Structure from motion of all three kinds, in place of pycolmap's."""
    found = StandIn()
    for kind, preparation in PREPARATIONS.items():
        run = partial(preparation.run, sfm=found.sfm())
        monkeypatch.setitem(PREPARATIONS, kind, replace(preparation, run=run))
    return found


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[arguments or "nothing" for arguments, _ in MISTAKES])
def test_likely_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(arguments.split(), "--quiet") == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"error: {message}\n")
    assert not any(tmp_path.iterdir())


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        run(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    flags = [name for name in leaves(PrepareConfig) if name not in ("kind", "scene")]
    assert not [name for name in flags if not re.search(rf"--{name}\b[^\n]*\n?[|│ ]*[^\n]*[a-z]{{3}}", shown)]


def test_settings_reach_the_pipeline():
    arguments = "videos x --every 5 --start_timestamp 2 --end_timestamp 9 --frames all -r 2 --resize_filter box "
    arguments += "--layouts ed3dgs --upstream_moegs --max_image_size 0 --max_features 5 --peak_threshold 0.1 "
    arguments += "--edge_threshold 7 "
    arguments += "--affine_shape --two_view_points --accept_poor --threads 3 --mapped_frame 4 --leave_out a.mp4 b.mp4"
    options = options_of(read_prepare_settings(arguments.split(), prog="", description=""))
    assert (options.every, options.start, options.end, options.frames) == (5, 2, 9, "all")
    assert (options.resolution, options.resize, options.trainer_folders) == (2, "box", ("ed3dgs",))
    assert (options.upstream_moegs, options.mapped_frame, options.leave_out) == (True, 4, ("a.mp4", "b.mp4"))
    sfm = options.sfm
    assert (sfm.max_image_size, sfm.max_features, sfm.peak_threshold, sfm.edge_threshold) == (0, 5, 0.1, 7)
    assert (sfm.affine_shape, sfm.guided_matching, sfm.two_view_points) == (True, False, True)
    assert (sfm.accept_poor, sfm.threads, options.accept_moving) == (True, 3, False)
    assert options_of(read_prepare_settings(["n3v", "x", "--all_frames"], prog="", description="")).every == 1


def test_n3v_twice(stand_in, tmp_path, capsys):
    write_n3v_scene(tmp_path / "film")
    assert run(["n3v", tmp_path / "film", "--every", 3]) == 0
    first = capsys.readouterr().out.splitlines()
    counts = "2 frames, each with 3/3 cameras, 12 points, median reprojection error 0.5 px"
    assert first[0] == f"{tmp_path}/film: {counts}"
    assert re.fullmatch(r"8 steps done, 0 skipped; \d+ s in all, \d+\.\d s per COLMAP model", first[1])
    assert first[2] == (
        "written: points3D.ply (3 points), points3D_downsample.ply (2 points), points3D_downsample2.ply (1 point), "
        "preparation/contact_sheet.png, preparation/overview.png"
    )
    for name in ("contact_sheet.png", "overview.png"):
        with Image.open(tmp_path / "film" / "preparation" / name) as image:
            assert image.width == 1600
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "film").rglob("*.png")}
    assert run(["n3v", tmp_path / "film", "--every", 3]) == 0
    assert re.fullmatch(r"0 steps done, 8 skipped; \d+ s in all", capsys.readouterr().out.splitlines()[1])
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "film").rglob("*.png")}


def test_technicolor_names_what_it_repaired(stand_in, tmp_path, capsys, caplog):
    write_technicolor_scene(tmp_path / "birthday")
    broken = tmp_path / "birthday" / "Birthday_undist_00002_05.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    assert run(["technicolor", tmp_path / "birthday", "--start_timestamp", 1, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert "12/12 cameras" in shown.out
    assert re.search(r"warning: repaired Birthday_undist_00002_05\.png: rows \d+ to 33 of 34 taken", shown.err)


def test_a_lost_image_is_made_again(stand_in, tmp_path, capsys):
    write_n3v_scene(tmp_path / "film")
    run(["n3v", tmp_path / "film"])
    (tmp_path / "film" / "preparation" / "overview.png").unlink()
    capsys.readouterr()
    assert run(["n3v", tmp_path / "film"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("1 step done, 6 skipped")


def test_a_scene_too_plain_for_points_is_one_line(tmp_path, capsys):
    write_n3v_scene(tmp_path / "film")
    assert run(["n3v", tmp_path / "film", "--max_features", 100, "--quiet"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert re.match("error: .*too poor: .*100 features", shown.err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption(number, tmp_path, monkeypatch, capsys):
    def interrupted(root, options):
        os.kill(os.getpid(), number)
        return prepare_n3v(root, options)

    monkeypatch.setitem(PREPARATIONS, "n3v", replace(PREPARATIONS["n3v"], run=interrupted))
    before = signal.getsignal(number)
    assert run(["n3v", tmp_path]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(number) == before


def cloud(frame: int, registered: int, points: int, error: float) -> PreparedCloud:
    counts = {"cameras": 28, "registered": registered, "points": points, "median_error": error}
    return PreparedCloud(frame=frame, model=Path("m"), tried=("one", "two"), **counts)


def test_summaries():
    steps = [
        StepReport(name="frames_cam00", outcome="done", seconds=1.0),
        StepReport(name="colmap_0", outcome="done", seconds=80.06),
        StepReport(name="clouds", outcome="skipped", seconds=7.0),
    ]

    def lines(*clouds: PreparedCloud) -> list[str]:
        empty = {"cameras": {}, "images": {}, "cloud_sizes": {}, "repaired": (), "notes": ()}
        report = PrepareReport(
            kind="n3v", root=Path("film"), steps=tuple(steps), start=0, frames=1, clouds=clouds, **empty
        )
        return preparation_summary(report, steps)

    one = lines(cloud(0, 27, 7412, 0.6954))
    assert one[0] == "film: 27/28 cameras, 7,412 points, median reprojection error 0.7 px"
    assert one[1] == "2 steps done, 1 skipped; 81 s in all, 80.1 s per COLMAP model"
    two = lines(cloud(0, 28, 7412, 0.6954), cloud(1, 27, 999, 0.5), cloud(2, 28, 8000, 0.6))
    assert two[0] == (
        "film: 3 frames, each with 27/28 cameras, 999 to 8,000 points, median reprojection error 0.5 to 0.7 px"
    )


def shell(script: str, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **more}
    environment.pop("VIRTUAL_ENV", None)
    command = ["bash", str(ROOT / "scripts" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize("name", ["env_setup", "prepare_scenes", "preprocess_all_n3v", "preprocess_all_techni"])
def test_scripts_are_bash(name):
    assert subprocess.run(["bash", "-n", str(ROOT / "scripts" / f"{name}.sh")], capture_output=True).returncode == 0


FAKE_PYTHON = """#!/usr/bin/env bash
printf '[%s]' "${@:2}"
echo
case "$4" in *stops) exit 130 ;; *fails) exit 2 ;; esac
"""


def test_flags_are_passed_on_and_an_interruption_ends_it(tmp_path):
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    for name in ("a b", "c"):
        (tmp_path / "scenes" / name).mkdir(parents=True)
        (tmp_path / "scenes" / name / "Painter_undist_00001_00.png").touch()
    path = tmp_path / "scenes"
    ended = shell("preprocess_all_techni.sh", f"{path}/", "--every", 2, PYTHON=str(python))
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [
        f"== {path}/a b",
        f"[prepare][technicolor][{path}/a b][--every][2]",
        f"== {path}/c",
        f"[prepare][technicolor][{path}/c][--every][2]",
        "2 of 2 scenes prepared",
    ]
    alone = shell("preprocess_all_techni.sh", path / "c", PYTHON=str(python))
    assert alone.stdout.splitlines()[1:] == [f"[prepare][technicolor][{path}/c]", "1 of 1 scenes prepared"]
    (path / "a b").rename(path / "b fails")
    (path / "c").rename(path / "c stops")
    (path / "d").mkdir()
    (path / "d" / "cameras_parameters.txt").touch()
    ended = shell("preprocess_all_techni.sh", path, PYTHON=str(python))
    assert (ended.returncode, len(ended.stdout.splitlines())) == (130, 4)


@pytest.mark.parametrize("script", ["preprocess_all_n3v.sh", "preprocess_all_techni.sh"])
def test_scripts_without_scenes(script, tmp_path):
    assert shell(script, tmp_path / "nowhere").stderr.startswith(f"error: {tmp_path}/nowhere: no such folder")
    assert shell(script).returncode == 2
    ended = shell(script, tmp_path)
    assert (ended.returncode, "no scene found" in ended.stderr) == (2, True)
