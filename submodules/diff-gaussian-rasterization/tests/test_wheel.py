"""The rasterizer's wheel is complete: it renders from a folder that holds nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from moegs_rasterizer import cpu
from moegs_rasterizer.compile import cpp_library, cuda_library

PROJECT = Path(__file__).resolve().parents[1]
RENDER = """
import moegs_rasterizer, torch
from moegs_rasterizer import Layer, RasterSettings, rasterize
from moegs_rasterizer.compile import cpp_library, cuda_library
from moegs_rasterizer.random_scenes import random_scene
gaussians, camera = random_scene(count=50, width=32, height=24, seed=0)
layer = Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.zeros(3))
images = [rasterize([layer], camera, backend=backend)[0].colour for backend in ("torch", "cpu")]
assert (images[0] - images[1]).abs().max() < 1e-4
print(moegs_rasterizer.__file__, cpp_library.cache_folder(), cuda_library.cache_folder(), sep="\\n")
"""


def run(*command: str, **options: object) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_renders_alone(tmp_path: Path) -> None:
    if cpu.unavailable_reason() is not None:
        pytest.skip(f"the C++ back-end cannot run here: {cpu.unavailable_reason()}")
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(PROJECT, source, ignore=shutil.ignore_patterns("tests", "build", "*.egg-info", "__pycache__"))
    pip = ("-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--quiet", "-w", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("moegs_rasterizer-*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--no-compile", "--quiet", "--target", str(site), str(wheel))
    printed = run("-c", RENDER, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}).splitlines()
    # The same hash of sources: nothing that is compiled is missing in the wheel.
    assert printed == [
        str(site / "moegs_rasterizer" / "__init__.py"),
        str(cpp_library.cache_folder()),
        str(cuda_library.cache_folder()),
    ]
