"""Hashes of the values that a reader gave, which tell a damaged file from the one that was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

_DEEPEST = 40
_PRINTED = (bool, int, float, str, bytes, Path, np.generic, np.dtype, torch.dtype, torch.device, Enum, Fraction)
_OF_EVERY_MODULE = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}  # hooks, and `training`


def values_hash(value: object) -> str:
    """Compute SHA-256 of everything in a value: numbers, texts, tensors, arrays, containers, settings of objects."""
    digest = hashlib.sha256()
    for part in _parts(value, 0):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts(value: Any, depth: int) -> Iterator[bytes]:
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} objects lie in each other")
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif value is None or isinstance(value, _PRINTED):
        yield repr(value).encode(errors="surrogatepass")
    else:
        yield type(value).__name__.encode()
        for part in () if callable(value) and not isinstance(value, nn.Module) else _inside(value):
            yield from _parts(part, depth + 1)


def _inside(value: Any) -> list[Any]:
    """The values that a container or an object holds, in an order that is the same in every process."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if not isinstance(value, Mapping):
        slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
        value = {name: getattr(value, name, None) for name in slots} | {
            name: part for name, part in getattr(value, "__dict__", {}).items() if name not in _OF_EVERY_MODULE
        }
    return [part for key in sorted(value, key=repr) for part in (key, value[key])]
