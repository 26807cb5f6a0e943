"""The packages' import directions: each may use itself and what stands in its row, nothing else of ours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RASTERIZER = "submodules/diff-gaussian-rasterization/moegs_rasterizer"
LAYERS = ("common", "losses", "scenes", "experts", "router", "engine")
ALLOWED = {
    RASTERIZER: {"moegs_rasterizer"},
    "common": {"common"},
    "losses": {"losses", "common"},
    "scenes": {"scenes", "common", "moegs_rasterizer"},
    "experts": {"experts", "losses", "common", "moegs_rasterizer"},
    "router": {"router", "experts", "losses", "common", "moegs_rasterizer"},
    "engine": {*LAYERS, "moegs_rasterizer"},
    "demo": {*LAYERS, "demo", "moegs_rasterizer"},
    "benchmarks": {*LAYERS, "benchmarks", "moegs_rasterizer"},
}
OURS = {*LAYERS, "demo", "benchmarks", "moegs_rasterizer", "tests"}


def imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = set()
    for node in tree:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_lies_below_them(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): found for f in files if (found := (imported(f) & OURS) - ALLOWED[package])}
    assert not wrong


def test_scripts_import_only_engine_and_tools():
    scripts = sorted(ROOT.glob("*.py"))
    assert len(scripts) >= 7  # six of the paper's and moegs.py
    for script in scripts:
        assert imported(script) & OURS <= {"engine", "demo", "benchmarks", "common"}, script.name
