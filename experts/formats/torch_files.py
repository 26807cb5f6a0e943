"""Reading other people's checkpoint folders without running anything that lies in them."""

from __future__ import annotations

import argparse
import ast
import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.files import replacing
from common.suggestions import nearest
from experts.base import CheckpointError

logger = logging.getLogger(__name__)

_ITERATION = re.compile(r"^iteration_(\d+)$")
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
_ZIP_MAGIC = b"PK\x03\x04"  # what torch.save writes since 1.6
_CFG_ARGS_LIMIT = 1 << 20  # bytes; real ones have a few thousand
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]

# Beyond tensors: what trainers of the 3DGS family leave in their files (learning rates and extents from numpy, args).
# The scalar constructor moved between numpy 1 and 2; files carry either name.
_ALLOWED: list[Any] = [
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    argparse.Namespace,
]


def load_tensors(path: Path, *, trust: bool = False) -> Any:
    """Read a torch file on the CPU; nothing in it is executed unless `trust`.

    Allowed beside tensors and plain containers: numpy scalars and argparse.Namespace. Values are not checked:
    call `require_finite` on the tensors you use. Raises CheckpointError.
    """
    require_file(path)
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the file is empty; copy or download it again")
    if trust:
        logger.warning("%s: loading as a full pickle (--trust_checkpoint), which can run any code in it", path)
        return _load(path, weights_only=False)
    with torch.serialization.safe_globals(_ALLOWED):
        return _load(path, weights_only=True)


def _load(path: Path, *, weights_only: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=weights_only)
    except Exception as fault:  # an arbitrary byte stream can fail anywhere in the unpickler
        raise CheckpointError(f"{path}: {_explain(path, fault)}") from fault


def _explain(path: Path, fault: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if head.lstrip().startswith(b"<"):
        return "is a web page, not a torch file; download the file itself"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file; fetch it with `git lfs pull`"
    refused = _REFUSED.search(str(fault)) if isinstance(fault, pickle.UnpicklingError) else None
    if refused:
        return (
            f"asks to load {refused.group(1)}, which is not on the list of harmless types; "
            "if you trust its author, --trust_checkpoint loads it as a full pickle, which can run any code"
        )
    if head.startswith(_ZIP_MAGIC):
        return "is truncated or damaged; copy or download it again"
    return f"is not a file written by torch.save (it begins with {head[:8]!r}); check the path"


def load_state_dict(path: Path, *, trust: bool = False) -> dict[str, Tensor]:
    """Read a torch file that must hold a flat name -> tensor table of finite values.

    Raises CheckpointError.
    """
    state = load_tensors(path, trust=trust)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path}: holds a {type(state).__name__}, expected a state dict of tensors; check the path"
        )
    require_finite(state, path)
    return dict(state)


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError naming the tensors that hold NaN or infinity."""
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise CheckpointError(
            f"{path}: NaN or infinite values in {shorten(bad)}; the training diverged or the file is damaged"
        )


def require_file(path: Path) -> None:
    """Raise CheckpointError naming the nearest existing file when `path` is not a file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {_nearest(path)}")


def _nearest(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    if parent != path.parent:
        return f"not even its folder exists below {parent}"
    names = sorted(entry.name for entry in parent.iterdir())
    return f"nearest there: {nearest(path.name, names) or names[0]}" if names else "its folder is empty"


def shorten(names: list[str], *, limit: int = 3) -> str:
    """Join names for an error message, counting those beyond `limit`."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def read_cfg_args(folder: Path) -> dict[str, object] | None:
    """Arguments a 3DGS-style trainer left in `folder/cfg_args`, None without the file.

    The text `Namespace(key=value, ...)` is parsed, never evaluated; values that are not literals are left out.
    Raises CheckpointError when it is anything else.
    """
    path = folder / "cfg_args"
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _CFG_ARGS_LIMIT:
            raise ValueError(f"larger than {_CFG_ARGS_LIMIT} bytes")
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


_NOT_A_LITERAL = object()


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return _NOT_A_LITERAL


def _malformed(path: Path, found: str) -> CheckpointError:
    return CheckpointError(f"{path}: expected the text Namespace(name=value, ...), found {found}; mend or remove it")


def find_iteration(folder: Path, iteration: int | None) -> tuple[int, Path]:
    """Number and path of `folder/point_cloud/iteration_<n>`: the asked one, or the highest for None.

    Raises CheckpointError listing the iterations that exist.
    """
    clouds = folder / "point_cloud"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; {_nearest(folder)}")
    if not clouds.is_dir():
        raise CheckpointError(
            f"{folder}: no folder point_cloud in it; {_nearest(clouds)}; give a trained model's folder"
        )
    found = {
        int(match.group(1)): entry
        for entry in clouds.iterdir()
        if (match := _ITERATION.match(entry.name)) and entry.is_dir()
    }
    if not found:
        raise CheckpointError(f"{clouds}: no iteration_<number> folder in it; {_nearest(clouds / 'iteration_30000')}")
    number = max(found) if iteration is None else iteration
    if number not in found:
        raise CheckpointError(f"{clouds}: no iteration {number}; available: {', '.join(map(str, sorted(found)))}")
    return number, found[number]


def save_tensors(value: object, path: Path) -> None:
    """Write a torch file, whole or not at all; the same value gives the same bytes."""
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
    ):  # given a path, torch writes its name into the file
        torch.save(value, file)
