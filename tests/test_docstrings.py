"""Module docstrings exist, and module and public docstrings begin with their subject, not with a question word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RASTERIZER = "submodules/diff-gaussian-rasterization/moegs_rasterizer"
PACKAGES = ("common", "scenes", "experts", "router", "losses", "engine", "demo", "benchmarks", RASTERIZER)
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_QUESTION_WORD = re.compile(r"\W*(what|which|where|whether|when|how)\b", re.IGNORECASE)


def public_definitions(node: ast.AST) -> Iterator[Definition]:
    """Public functions, classes and methods below a module or a class; dunder methods count as public."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Definition):
            yield from public_definitions(child)  # the branches of an `if` or a `try`
        elif not child.name.startswith("_") or child.name.endswith("__"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child)


def wrong_docstrings(source: str, name: str) -> list[str]:
    """Wrong docstrings of a module's source, each as "name:line: reason"."""
    module = ast.parse(source)
    wrong = [] if ast.get_docstring(module) else [f"{name}:1: the module has no docstring"]
    for node in (module, *public_definitions(module)):
        match = _QUESTION_WORD.match(ast.get_docstring(node) or "")
        if match is not None:
            reason = f'the docstring begins with "{match[1]}"; name its subject first'
            wrong.append(f"{name}:{node.body[0].lineno}: {reason}")
    return wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_of_a_package(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    names = {path: str(path.relative_to(ROOT)) for path in files}
    assert not [line for path in files for line in wrong_docstrings(path.read_text(encoding="utf-8"), names[path])]


def test_docstrings_of_the_scripts():
    scripts = sorted(ROOT.glob("*.py"))
    assert {"moegs.py", "train_E4.py", "render_E4.py"} <= {path.name for path in scripts}
    assert not [line for path in scripts for line in wrong_docstrings(path.read_text(encoding="utf-8"), path.name)]


def test_every_package_is_checked():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} <= {*PACKAGES, "tests"}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import os\n", [1]),
        ('"""What a module holds."""\n', [1]),
        ('\n"""  how it works."""\n', [2]),
        ('"""Good."""\n\ndef function():\n    """Which files."""\n', [4]),
        ('"""Good."""\n\nasync def function():\n    """Whether it ends."""\n', [4]),
        ('"""Good."""\n\nclass Value:\n    """Where it lies."""\n', [4]),
        ('"""Good."""\n\nclass Value:\n    def method(self):\n        """When it was."""\n', [5]),
        ('"""Good."""\n\nclass Value:\n    def __init__(self):\n        """`How` it starts."""\n', [5]),
        ('"""Good."""\n\ntry:\n    import x\nexcept ImportError:\n    def x():\n        """What."""\n', [7]),
        ('def f():\n    """What f gives."""\n\ndef g():\n    """What g gives."""\n', [1, 2, 5]),
    ],
)
def test_wrong_docstrings_are_seen(source, lines):
    seen = wrong_docstrings(source, "module.py")
    assert [line.split(": ")[0] for line in seen] == [f"module.py:{line}" for line in lines]


@pytest.mark.parametrize(
    "source",
    [
        '"""Whatever the module holds."""\n\ndef undocumented():\n    pass\n',
        '"""Settings of what is shown, and where."""\n\ndef _private():\n    """What it gives."""\n',
        '"""Values."""\n\nclass _Private:\n    def method(self):\n        """How it goes."""\n',
        '"""Values."""\n\ndef function():\n    """The value."""\n    def inner():\n        """Which one."""\n',
    ],
)
def test_other_docstrings_pass(source):
    assert wrong_docstrings(source, "module.py") == []
