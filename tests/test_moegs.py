"""The table of commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import engine.api
import moegs
from benchmarks.trained_scenes import trained_like_scene
from experts import SPLATTED
from router import ENSEMBLES
from scenes.layouts import LAYOUTS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert moegs.main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in moegs.COMMANDS)


@pytest.mark.parametrize("name", moegs.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        moegs.main([name, "--help"])
    assert end.value.code == 0
    assert moegs.COMMANDS[name].about in capsys.readouterr().out


def test_scripts_of_the_help_are_those_of_the_published_ensembles() -> None:
    titles = {name: LAYOUTS[row.layout].title for name, row in ENSEMBLES.items() if row.layout is not None}
    assert {
        f"train_{name}.py, render_{name}.py": f"{', '.join(ENSEMBLES[name].experts)} on {title}"
        for name, title in titles.items()
    } == moegs.SCRIPTS


def test_the_python_api_is_there_when_asked_for() -> None:
    for name in engine.api.__all__:
        assert getattr(moegs, name) is getattr(engine.api, name)
        assert name in moegs.__all__ and name in dir(moegs)
    with pytest.raises(AttributeError, match="no attribute 'lod_run'"):
        _ = moegs.lod_run


def modules_after(code: str, *arguments: str) -> set[str]:
    """The modules that a new process has imported when some code has run."""
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('MODULES', *sys.modules)", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(shown.split("MODULES ")[1].split())


def test_the_help_imports_nothing_heavy() -> None:
    modules = modules_after("import moegs; moegs.main(['--help'])")
    assert "moegs" in modules
    assert not modules & {"torch", "numpy", "av", "tyro", "pycolmap", "scipy", "PIL", "tqdm", "engine", "experts"}


EVERY_HELP = """
import contextlib, runpy
import moegs
from router import ENSEMBLES
for name in moegs.COMMANDS:
    with contextlib.suppress(SystemExit):
        moegs.main([name, "--help"])
for path in (f"{verb}_{name}.py" for name in ENSEMBLES for verb in ("train", "render")):
    sys.argv = [path, "--help"]
    with contextlib.suppress(SystemExit):
        runpy.run_path(path, run_name="__main__")
"""


def test_no_help_of_a_command_imports_pytorch() -> None:
    modules = modules_after(EVERY_HELP)
    assert {
        "engine.settings.training.train_expert",
        "engine.settings.rendering.render",
        "experts.stg.presets",
    } <= modules
    assert not modules & {"torch", "scipy", "pycolmap"}


LOADED = """
from pathlib import Path
from engine.checks.rasterizer import check_rasterizer
from engine.commands import render
from engine.runs.device import CPU, ComputeDevice
from experts import SPLATTED, LoadOptions, load_expert
check_rasterizer(ComputeDevice(device=CPU, backend="torch"))
for name in SPLATTED:
    demo = Path("demo/experts") / name
    load_expert(name, demo if demo.is_dir() else Path(@FOLDER@) / name, LoadOptions())
"""


def test_loading_a_run_does_not_import_pytorchs_compiler(tmp_path: Path) -> None:
    """It takes as long as all else; PyTorch imports it for `torch.utils.checkpoint` and for some operators."""
    gaussians, _ = trained_like_scene(count=5, width=8, height=8, seed=1)
    for name, spec in SPLATTED.items():
        if not (ROOT / "demo" / "experts" / name).is_dir():
            spec.save(spec.random_model(gaussians), tmp_path / name, 1)
    modules = modules_after(LOADED.replace("@FOLDER@", repr(str(tmp_path))))
    folders = ("stg", "ex4dgs", "ed3dgs", "fourdgaussians", "freetime", "splats")
    assert {"torch", *(f"experts.{folder}.files" for folder in folders)} <= modules and len(SPLATTED) == len(folders)
    assert not modules & {"torch._dynamo", "sympy", "scipy", "pycolmap"}
