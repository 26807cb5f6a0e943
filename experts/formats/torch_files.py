"""Torch files of strangers: loaded without running anything that lies in them, and written whole or not at all."""

from __future__ import annotations

import argparse
import logging
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.disk.faults import writing
from common.disk.files import replacing
from experts.base import CheckpointError
from experts.formats.folders import require_file
from experts.formats.torch_archives import check_archive, check_tensors

logger = logging.getLogger(__name__)

_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
_ZIP_MAGIC = b"PK\x03\x04"  # what torch.save writes since 1.6
_OLD_MAGIC = bytes.fromhex(
    "8002 8a0a 6cfc 9c46 f920 6aa8 5019 2e"
)  # what it wrote before: a pickle of its magic number
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


class PickledModule:
    """Stands for an object of a class whose code is not here: the attributes that its file has, and nothing that runs.

    Of an nn.Module they are `_parameters`, `_modules` and others.
    """


def load_tensors(path: Path, *, trust: bool = False, modules: Sequence[str] = ()) -> Any:
    """Read a torch file on the CPU; nothing in it is executed unless `trust`, and old formats are refused.

    Allowed beside tensors and plain containers: numpy scalars and argparse.Namespace. Values are not checked:
    call `require_finite` on the tensors you use. modules: full names of classes whose objects come as PickledModule
    (not with `trust`). Raises CheckpointError.
    """
    require_file(path)
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the file is empty; copy or download it again")
    if trust:
        logger.warning("%s: loading as a full pickle (--trust_checkpoint), which can run any code in it", path)
        return _load(path, weights_only=False)
    with torch.serialization.safe_globals([*_ALLOWED, *((PickledModule, name) for name in modules)]):
        return _load(path, weights_only=True)


def _load(path: Path, *, weights_only: bool) -> Any:
    try:
        if _head(path).startswith(_ZIP_MAGIC):
            check_archive(path)
        elif weights_only:  # nothing in another file can be checked before it is read
            raise ValueError("no archive")
        content = torch.load(path, map_location="cpu", weights_only=weights_only)
        check_tensors(content)
        return content
    except Exception as fault:  # an arbitrary byte stream can fail anywhere in the unpickler
        raise CheckpointError(f"{path}: {_explain(path, fault)}") from fault


def _explain(path: Path, fault: Exception) -> str:
    head = _head(path)
    if head.lstrip().startswith(b"<"):
        return "is a web page, not a torch file; download the file itself"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file; fetch it with `git lfs pull`"
    if head.startswith(_OLD_MAGIC):
        return (
            "is in the format of PyTorch before 1.6, which has no check sums; if you know who made it, write it anew: "
            "torch.save(torch.load(FILE, weights_only=True), FILE)"
        )
    refused = _REFUSED.search(str(fault)) if isinstance(fault, pickle.UnpicklingError) else None
    if refused:
        return (
            f"asks to load {refused.group(1)}, which is not on the list of harmless types; "
            "if you trust its author, --trust_checkpoint loads it as a full pickle, which can run any code"
        )
    if head.startswith(_ZIP_MAGIC):
        why = f" ({fault})" if isinstance(fault, ValueError | zipfile.BadZipFile) else ""
        return f"is truncated or damaged{why}; copy or download it again"
    return f"is not a file written by torch.save (it begins with {head[:8]!r}); check the path"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


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


def shorten(names: list[str], *, limit: int = 3) -> str:
    """Join names for an error message, counting those beyond `limit`."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def save_tensors(value: object, path: Path) -> None:
    """Write a torch file, whole or not at all; the same value gives the same bytes."""
    with (
        writing(path, RuntimeError),
        replacing(path) as temporary,
        temporary.open("wb") as file,
    ):  # given a path, torch writes its name into the file
        torch.save(value, file)
