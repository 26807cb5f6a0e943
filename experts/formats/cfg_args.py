"""The text file cfg_args that trainers of the 3DGS family leave in a model's folder: Namespace(name=value, ...)."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping
from pathlib import Path

from common.files import replacing
from experts.base import CheckpointError

CFG_ARGS = "cfg_args"
_LIMIT = 1 << 20  # bytes; real ones have a few thousand
_NOT_A_LITERAL = object()


def read_cfg_args(folder: Path) -> dict[str, object] | None:
    """Arguments a 3DGS-style trainer left in `folder/cfg_args`, None without the file.

    The text `Namespace(key=value, ...)` is parsed, never evaluated; values that are not literals are left out.
    Raises CheckpointError when it is anything else.
    """
    path = folder / CFG_ARGS
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError(f"larger than {_LIMIT} bytes")
        call = ast.parse(path.read_text(encoding="utf-8").strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        raise _malformed(path, str(fault).splitlines()[0] if str(fault) else type(fault).__name__) from fault
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


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return _NOT_A_LITERAL


def _malformed(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(f"{path}: expected the text Namespace(name=value, ...), found {problem}; mend or remove it")
