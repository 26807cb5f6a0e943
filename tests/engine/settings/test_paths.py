"""Every flag of every command that takes a path: a wrong one is named in one line, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

import moegs
from common.text.wording import shell
from engine.commands import render, train
from engine.errors import ConfigError
from engine.settings.auto import AutoConfig
from engine.settings.check import CheckConfig
from engine.settings.distill import DistillConfig
from engine.settings.exchange import ImportConfig
from engine.settings.export import ExportConfig
from engine.settings.parsing.fields import leaves
from engine.settings.parsing.paths import check_target
from engine.settings.prepare import PrepareConfig
from engine.settings.prune import PruneConfig
from engine.settings.rendering.render import AnyRenderConfig, RenderConfig
from engine.settings.results.figure import FigureConfig
from engine.settings.run_all import RunAllConfig
from engine.settings.training.run import AnyRunConfig, RunConfig
from engine.settings.training.train_expert import TrainExpertConfig
from experts import EXPERTS
from router import ENSEMBLES, folder_flags
from tests.scenes.scene_folders import Rig, write_n3v_scene

FOLDER, FILE, EITHER, TARGET, TARGET_FILE = "folder", "file", "file or folder", "folder to write", "file to write"
E4 = folder_flags(ENSEMBLES["E4"]).values()
MODELS = {f"--{flag}": FOLDER for flag in E4}
OTHERS = tuple(spec.flag for spec in EXPERTS.values() if spec.flag not in E4)  # which E4's scripts refuse


@dataclass(frozen=True, kw_only=True)
class Row:
    """A command, the kind of path that each of its flags takes, and a command line in which all are right."""

    run: Callable[[list[str]], int]
    config: type
    flags: dict[str, str]  # a metavar is a positional argument
    words: tuple[str, ...] = ()  # before the flags
    hidden: tuple[str, ...] = ()  # settings without a flag here


ROWS = {
    "train_E4.py": Row(
        run=lambda argv: train.main("E4", argv),
        config=RunConfig,
        flags={
            "--config": FILE,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            **MODELS,
            "--save_path": TARGET,
            "--lpips_weights": EITHER,
        },
        hidden=OTHERS,
    ),
    "train": Row(
        run=moegs.main,
        config=AnyRunConfig,
        words=("train", "--expert=Ex4DGS={good}"),
        flags={
            "--config": FILE,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            "--expert STG": FOLDER,
            "--save_path": TARGET,
            "--lpips_weights": EITHER,
        },
    ),
    "train-expert": Row(
        run=moegs.main,
        config=TrainExpertConfig,
        words=("train-expert", "stg"),
        flags={
            "--config": FILE,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            "--points": FILE,
            "--model_path": TARGET,
            "--lpips_weights": EITHER,
        },
    ),
    "render_E4.py": Row(
        run=lambda argv: render.main("E4", argv),
        config=RenderConfig,
        flags={
            "--save_path": FOLDER,
            "--lpips_weights": EITHER,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            **MODELS,
        },
        hidden=OTHERS,
    ),
    "render": Row(
        run=moegs.main,
        config=AnyRenderConfig,
        words=("render",),
        flags={
            "--save_path": FOLDER,
            "--lpips_weights": EITHER,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            "--expert STG": FOLDER,
        },
    ),
    "prepare n3v": Row(run=moegs.main, config=PrepareConfig, words=("prepare", "n3v"), flags={"SCENE": FOLDER}),
    "prepare videos": Row(run=moegs.main, config=PrepareConfig, words=("prepare", "videos"), flags={"SCENE": FOLDER}),
    "check": Row(
        run=moegs.main,
        config=CheckConfig,
        words=("check",),
        flags={"SCENE": FOLDER, "--cache_path": TARGET},
        hidden=("source_path",),  # its scene is positional
    ),
    "export": Row(
        run=moegs.main,
        config=ExportConfig,
        words=("export",),
        flags={
            "SAVE_PATH": FOLDER,
            "--out": TARGET,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            "--expert STG": FOLDER,
        },
        hidden=("to",),  # in the place of --out, by its ending a file or a folder: tests/engine/export
    ),
    "import": Row(
        run=moegs.main,
        config=ImportConfig,
        words=("import",),
        flags={"FOLDER": FOLDER, "--save_path": TARGET, "--source_path": FOLDER},
    ),
    "prune": Row(
        run=moegs.main,
        config=PruneConfig,
        words=("prune",),
        flags={
            "SAVE_PATH": FOLDER,
            "--out": TARGET,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            "--expert STG": FOLDER,
        },
    ),
    "distill": Row(
        run=moegs.main,
        config=DistillConfig,
        words=("distill", "--expert=STG"),
        flags={"SAVE_PATH": FOLDER, "--out": TARGET, "--source_path": FOLDER, "--cache_path": TARGET},
    ),
    "figure": Row(
        run=moegs.main,
        config=FigureConfig,
        words=("figure",),
        flags={
            "SAVE_PATH": FOLDER,
            "--out": TARGET_FILE,
            "--source_path": FOLDER,
            "--cache_path": TARGET,
            "--expert STG": FOLDER,
        },
    ),
    "run-all": Row(
        run=moegs.main,
        config=RunAllConfig,
        words=("run-all",),
        flags={"DATASET": FOLDER, "--output": TARGET, "--slurm": TARGET},
    ),
    "auto": Row(
        run=moegs.main,
        config=AutoConfig,
        words=("auto", "--budget=9min"),
        flags={"SCENE": FOLDER, "--output": TARGET},
    ),
    "demo-scene": Row(run=moegs.main, config=object, words=("demo-scene",), flags={"FOLDER": TARGET}),
}
WRONG = {  # by kind: name of a wrong path, and what the error says of it
    FOLDER: {"my typo": "no such folder", "a file.txt": "is a file"},
    FILE: {"my typo": "no such", "a folder": "is a folder; give a file"},
    EITHER: {"my typo": "no such file or folder; nearest beside it: "},
    TARGET: {"a file.txt": "is a file; give a folder", "a file.txt/below": "a file.txt is a file; give another path"},
    TARGET_FILE: {
        "a folder": "is a folder; give a file",
        "a file.txt/x.png": "a file.txt is a file; give another path",
    },
}
CASES = [
    (command, flag, name, said)
    for command, row in ROWS.items()
    for flag, kind in row.flags.items()
    for name, said in WRONG[kind].items()
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with paths that are right, and paths that are wrong."""
    write_n3v_scene(tmp_path / "good", Rig(frames=1))
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file.txt").write_text("text")
    (tmp_path / "good.json").write_text("{}")
    return tmp_path


def argument(flag: str, path: Path) -> list[str]:
    if not flag.startswith("-"):
        return [str(path)]
    name, _, expert = flag.partition(" ")
    return [f"{name}={expert}={path}" if expert else f"{name}={path}"]


def named(flag: str, path: Path) -> str:
    name, _, expert = flag.partition(" ")
    return shell(name, f"{expert}={path}" if expert else path)


def right(kind: str, root: Path) -> Path:
    return {FILE: root / "good.json", TARGET: root / "new", TARGET_FILE: root / "new.png"}.get(kind, root / "good")


def contents(root: Path) -> set[tuple[str, int]]:
    """What is there, and when its files were written: some disks change a folder where a target is tried."""
    return {(str(path), path.stat().st_mtime_ns if path.is_file() else 0) for path in root.rglob("*")}


@pytest.mark.parametrize(("command", "flag", "name", "said"), CASES)
def test_a_wrong_path_is_named_with_its_flag(root, capsys, command, flag, name, said):
    row, before = ROWS[command], contents(root)
    argv = [word.format(good=root / "good") for word in row.words]
    for other, kind in row.flags.items():
        argv += argument(other, root / name if other == flag else right(kind, root))
    assert row.run(argv) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("no --config")]
    assert out == "" and len(lines) == 1
    assert lines[0].startswith(f"error: {named(flag, root / name)}: ")
    assert said in lines[0]
    assert contents(root) == before


@pytest.mark.parametrize("command", [name for name, row in ROWS.items() if row.config is not object])
def test_the_table_has_every_flag_of_a_path(command):
    row = ROWS[command]
    annotations = leaves(row.config)
    paths = {name for name, annotation in annotations.items() if Path in _types(annotation)}
    known = {flag.lstrip("-").split()[0] for flag in row.flags}
    positional = {"run": "SAVE_PATH", "folder": "FOLDER", "scene": "SCENE", "dataset": "DATASET"}
    assert {positional.get(name, name) for name in paths if name not in ROWS[command].hidden} == known - {"expert"}
    names_one = command in ("train-expert", "distill")  # by --expert NAME, without a folder
    assert ("expert" in annotations and not names_one) == ("expert" in known)


def _types(annotation) -> set:
    inner = get_args(annotation)
    return {annotation}.union(*map(_types, inner)) if inner else {annotation}


def test_the_nearest_names_are_those_beside_the_path(root, capsys):
    for name in ("scene_one", "scene_two"):
        (root / name).mkdir()
    assert moegs.main(["prepare", "videos", str(root / "scene_onne")]) == 2
    assert "no such folder; nearest beside it: scene_one, scene_two" in capsys.readouterr().err
    assert moegs.main(["prepare", "videos", str(root / "gone" / "scene_one")]) == 2
    assert f"nearest beside it: none, as {root / 'gone'} is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flag"),
    [(name, flag) for name, row in ROWS.items() for flag, kind in row.flags.items() if kind in (TARGET, TARGET_FILE)],
)
def test_a_folder_that_takes_no_file_is_named_before_anything_is_read(root, capsys, command, flag):
    row, target = ROWS[command], Path("/proc/new")  # where nobody can make a file, whatever rights they have
    argv = [word.format(good=root / "good") for word in row.words]
    for other, kind in row.flags.items():
        argv += argument(other, target if other == flag else right(kind, root))
    assert row.run(argv) == 2
    said = f"error: {flag} {target}: /proc is not writable (No such file or directory); change its rights, or give"
    assert said in capsys.readouterr().err


def test_a_target_is_tried_where_it_would_be_made(root):
    before = contents(root)
    check_target("--save_path", root / "new" / "run")
    check_target("--out", root / "good.json", file=True)  # replaced
    assert contents(root) == before
    for path, file in ((Path("/proc/self"), False), (Path("/proc/version"), True)):
        with pytest.raises(ConfigError, match=f"--out {path}: /proc.* is not writable"):
            check_target("--out", path, file=file)


@pytest.mark.parametrize("command", ["report", "figure"])
def test_a_run_that_cannot_be_written_to_is_shown_elsewhere(root, capsys, command):
    assert moegs.main([command, "/proc/self", f"--out={root / 'new.png'}"]) == 2
    assert "not writable" not in capsys.readouterr().err
    assert moegs.main([command, "/proc/self", "--out=/proc/new.png"]) == 2
    assert "error: --out /proc/new.png: /proc is not writable" in capsys.readouterr().err
    assert moegs.main([command, "/proc/self"]) == 2
    assert "error: SAVE_PATH /proc/self: /proc/self is not writable" in capsys.readouterr().err


def test_the_first_of_several_wrong_paths_is_named(root, capsys):
    wrong = [f"--source_path={root / 'a'}", f"--cache_path={root / 'a file.txt'}", f"--save_path={root / 'a file.txt'}"]
    assert train.main("E4", [*wrong, *(f"--{flag}={root / 'b'}" for flag in E4)]) == 2
    assert f"error: --source_path {root / 'a'}: no such folder" in capsys.readouterr().err
