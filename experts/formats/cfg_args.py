"""The text file cfg_args that trainers of the 3DGS family leave in a model's folder: Namespace(name=value, ...)."""

from __future__ import annotations

import argparse
import ast
import codecs
from collections.abc import Mapping
from pathlib import Path, PurePath, PureWindowsPath

from common.disk.faults import reading
from common.disk.files import replacing
from experts.base import CheckpointError

CFG_ARGS = "cfg_args"
_LIMIT = 1 << 20  # bytes; real ones have a few thousand
_NOT_A_LITERAL = object()


def read_cfg_args(folder: Path) -> dict[str, object] | None:
    """Arguments a 3DGS-style trainer left in `folder/cfg_args`, None without the file.

    The text `Namespace(key=value, ...)` is parsed, never evaluated; values that are not literals are left out. It may
    be in UTF-8, in UTF-16 with its mark, or in a code page of Windows, where letters of other languages may come out
    as others: the settings are ASCII.
    Raises CheckpointError when it is anything else.
    """
    path = folder / CFG_ARGS
    if not path.is_file():
        return None
    with reading(path, "not a readable cfg_args", CheckpointError, advice="mend or remove it"):
        return _values(path)


def _values(path: Path) -> dict[str, object]:
    """The named values of a cfg_args file that are literals."""
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError(f"larger than {_LIMIT} bytes")
        call = _parsed(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        too_deep = isinstance(fault, (RecursionError, MemoryError))  # Python's parser has no other word for it
        found = "too many brackets in brackets" if too_deep else (str(fault) or type(fault).__name__).splitlines()[0]
        raise _malformed(path, found) from fault
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Namespace"):
        raise _malformed(path, "something else")
    if call.args:
        raise _malformed(path, "values without a name")
    values: dict[str, object] = {}
    for keyword in call.keywords:
        literal = _literal(keyword.value)
        if keyword.arg is None and isinstance(literal, dict):  # how argparse prints names that are no identifiers
            values.update({str(key): value for key, value in literal.items()})
        elif keyword.arg is not None and literal is not _NOT_A_LITERAL:
            values[keyword.arg] = literal
    return values


def write_cfg_args(folder: Path, values: Mapping[str, object]) -> None:
    """Write settings as the text Namespace(name=value, ...); other settings already in the folder's file stay."""
    before = read_cfg_args(folder)
    plain = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in values.items()}
    merged = {**(before or {}), **plain}
    if merged == before:
        return
    with replacing(folder / CFG_ARGS) as temporary:
        temporary.write_text(str(argparse.Namespace(**merged)), encoding="utf-8")


def _parsed(data: bytes) -> ast.expr:
    """The expression of a file's bytes, in the first encoding that gives one; raises as ast.parse for the first."""
    first: Exception | None = None
    for encoding in _encodings(data):
        for unescaped in (False, True):  # a path written by hand, "C:\\Users", is no valid text of Python
            try:
                text = data.decode(encoding).strip()
                return ast.parse(text.replace("\\", "\\\\") if unescaped else text, mode="eval").body
            except (SyntaxError, ValueError) as fault:
                first = first or fault
    assert first is not None
    raise first


def _encodings(data: bytes) -> tuple[str, ...]:
    """Encodings to try for a text: that of its byte order mark, else UTF-8 and those of Windows."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    return ("utf-8-sig", "cp1252", "gb18030", "latin-1")


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return _NOT_A_LITERAL


def _malformed(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path}: expected the text Namespace(name=value, ...), found {problem}; mend or remove it")


def scene_told(cfg_args: Mapping[str, object] | None) -> PurePath | None:
    """The folder of the scene that cfg_args was written for, from its source_path; None where it says none.

    A source_path may lead to the reconstruction of a frame in that folder, such as colmap_0.
    """
    source = (cfg_args or {}).get("source_path")
    if not isinstance(source, str) or not source:
        return None
    folder = PureWindowsPath(source) if "\\" in source else PurePath(source)
    while folder.name.startswith("colmap_"):
        folder = folder.parent
    return folder


def named_scene(cfg_args: Mapping[str, object] | None) -> str | None:
    """The name of the scene that cfg_args was written for; None where it says none."""
    folder = scene_told(cfg_args)
    return None if folder is None else folder.name or None
