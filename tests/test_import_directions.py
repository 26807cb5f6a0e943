"""The packages' import directions: each may use itself and what stands in its row, nothing else of ours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RASTERIZER = "submodules/diff-gaussian-rasterization/moegs_rasterizer"
ALLOWED = {
    RASTERIZER: {"moegs_rasterizer"},
    "scenes": {"scenes", "moegs_rasterizer"},
    "losses": {"losses"},
    "experts": {"experts", "losses", "moegs_rasterizer"},
    "router": {"router", "experts", "losses", "moegs_rasterizer"},
    "engine": {"engine", "router", "experts", "losses", "scenes", "moegs_rasterizer"},
}
OURS = {"engine", "router", "experts", "losses", "scenes", "moegs_rasterizer", "tests"}


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


def test_scripts_import_the_engine_alone():
    for script in ROOT.glob("*.py"):
        assert imported(script) & OURS <= {"engine"}, script.name
