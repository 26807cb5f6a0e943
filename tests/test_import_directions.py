"""The packages' import directions: each may use itself and what stands in its row, nothing else of ours."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUBMODULE = "submodules/diff-gaussian-rasterization"
RASTERIZER = f"{SUBMODULE}/moegs_rasterizer"
LAYERS = ("common", "losses", "scenes", "experts", "router", "engine")
ALLOWED = {
    RASTERIZER: {"moegs_rasterizer"},
    "common": {"common"},
    "losses": {"losses", "common", "moegs_rasterizer"},
    "scenes": {"scenes", "common", "moegs_rasterizer"},
    "experts": {"experts", "losses", "common", "moegs_rasterizer"},
    "router": {"router", "experts", "losses", "common", "moegs_rasterizer"},
    "engine": {*LAYERS, "moegs_rasterizer"},
    "demo": {*LAYERS, "demo", "moegs_rasterizer"},
    "benchmarks": {*LAYERS, "benchmarks", "demo", "moegs_rasterizer"},
}
# The rooms of a package, lowest first: each may use itself and those before it.
ROOMS = {
    "engine": ("settings", "runs", "outputs", "evaluation", "training", "viewer", "commands"),
    "scenes": ("calibration", "frames", "points", "footage", "preparation", "layouts"),
    "experts": ("formats", "training", "canonical"),
    "moegs_rasterizer": ("reference", "compile", "cpu", "cuda", "inria"),
}
OURS = {*LAYERS, "demo", "benchmarks", "moegs_rasterizer", "tests"}


def modules(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names = set()
    package = path.parent.relative_to(ROOT / SUBMODULE if path.is_relative_to(ROOT / SUBMODULE) else ROOT).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            here = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*here, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def imported(path: Path) -> set[str]:
    """The packages that a file imports."""
    return {name.split(".")[0] for name in modules(path)}


def rooms_used(package: str, room: str, rooms: Iterable[str]) -> set[tuple[str, str]]:
    """Files of a package's room, each with another of the rooms that it imports."""
    folder = ROOT / (RASTERIZER if package == "moegs_rasterizer" else package)
    files = sorted((folder / room).rglob("*.py"))
    assert files, f"{package} has no room {room}"
    return {
        (str(path.relative_to(ROOT)), other)
        for path in files
        for other in rooms
        if other != room and any(f"{name}.".startswith(f"{package}.{other}.") for name in modules(path))
    }


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_lies_below_them(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): found for f in files if (found := (imported(f) & OURS) - ALLOWED[package])}
    assert not wrong


@pytest.mark.parametrize(("package", "room"), [(package, room) for package in ROOMS for room in ROOMS[package]])
def test_rooms_import_only_lower_ones(package, room):
    above = ROOMS[package][ROOMS[package].index(room) :]
    assert not rooms_used(package, room, above)


def test_experts_do_not_know_each_other():
    folders = [path.parent.name for path in (ROOT / "experts").glob("*/__init__.py")]
    own = [name for name in folders if name not in ROOMS["experts"]]
    assert {"ex4dgs", "ed3dgs", "stg", "fourdgaussians"} <= set(own)
    for room in folders:
        assert not rooms_used("experts", room, own)


def test_an_import_of_a_higher_room_is_seen():
    assert rooms_used("engine", "commands", ["training"]) >= {("engine/commands/train.py", "training")}


@pytest.mark.parametrize("package", ["router", "scenes"])
def test_every_name_that_a_package_promises_is_there(package):
    module = importlib.import_module(package)
    assert all(hasattr(module, name) for name in module.__all__)


def test_scripts_import_only_engine_and_tools():
    scripts = sorted(ROOT.glob("*.py"))
    assert len(scripts) >= 7  # six of the paper's and moegs.py
    for script in scripts:
        assert imported(script) & OURS <= {"engine", "demo", "benchmarks", "common"}, script.name
