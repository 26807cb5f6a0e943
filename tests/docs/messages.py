"""Messages that a page quotes, and the texts in the sources that print them."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    *("common", "demo", "engine", "experts", "losses", "router", "scenes"),
    "submodules/diff-gaussian-rasterization/moegs_rasterizer",
)
ANY = "\0"  # stands for a value that is known when the message is printed
PLACEHOLDERS = ("N", "NAME", "FILE", "FOLDER", "FLAG")  # what a page writes for a value; "…" also stands for text
FEWEST_LETTERS = 9  # of a quotation, without its values: fewer are found anywhere

_HEADING = re.compile(r"^#{2,} (.*`.*)$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_FORMAT = re.compile(r"%[-\d.]*[sdgfr]")  # of logging
_SHELL = re.compile(r"\$\{[^}]*\}|\$\w+|\$\([^)]*\)|\{[^}\n]*\}")  # of a shell script, and of the f-strings in it
_PLACEHOLDER = re.compile(rf"(?<!\w)(?:{'|'.join(PLACEHOLDERS)})(?![A-Za-z0-9])|…")
_VALUES = re.compile(rf"{ANY}+")


def quoted(page: str, *, foreign: frozenset[str] = frozenset()) -> list[str]:
    """Messages in a page's headings and in the first column of its tables of messages.

    foreign: marks behind a heading's message that say who else prints it, such as "(pip)"; those are left out.
    """
    own = [line for line in _HEADING.findall(page) if not line.endswith(tuple(foreign))]
    return [message for line in (*own, *_first_cells(page)) for message in _CODE.findall(line)]


def _first_cells(page: str) -> Iterator[str]:
    in_table = False
    for line in page.splitlines():
        in_table = line.startswith("| message |") or (in_table and line.startswith("|"))
        if in_table:
            yield line.split("|")[1]


def pattern(message: str) -> str:
    """A quoted message with ANY for each value; ValueError where too little of it is left."""
    text = _VALUES.sub(ANY, _PLACEHOLDER.sub(ANY, message))
    if sum(map(str.isalpha, text)) < FEWEST_LETTERS:
        raise ValueError(f"{message!r} says too little to be looked for")
    return text


@functools.cache
def texts() -> tuple[str, ...]:
    """Every text that the product may print, with ANY for each value. Docstrings are left out."""
    modules = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    printed = [text for path in (*modules, ROOT / "moegs.py") for text in texts_of(path.read_text(encoding="utf-8"))]
    scripts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "scripts").glob("*.sh"))]
    return (*printed, *(_SHELL.sub(ANY, script) for script in scripts))


def texts_of(source: str) -> Iterator[str]:
    """The texts of a Python module, as `texts` gives them."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield _VALUES.sub(ANY, "".join(_literal(part) for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (parts | alone):
            yield _VALUES.sub(ANY, _FORMAT.sub(ANY, node.value))


def _literal(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    value = part.value if isinstance(part, ast.FormattedValue) else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "counted":
        noun = value.args[1]
        return f"{ANY} {noun.value}s" if isinstance(noun, ast.Constant) else ANY
    return ANY


def is_printed(message: str) -> bool:
    """True where a text of the product contains the message, value for value."""
    wanted = pattern(message)
    return any(wanted in text for text in texts())
