"""The arithmetic of the experts' networks: float32, or less for fewer milliseconds and slightly other Gaussians."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from experts.base import Precision

HALVES: dict[Precision, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}

_now: Precision = "float32"


@contextmanager
def networks_in(precision: Precision) -> Iterator[None]:
    """Lets networks compute in a precision while the context lasts; those that learn ignore 16 bits."""
    global _now
    if precision == _now:
        yield
        return
    before, matmul = _now, torch.backends.cuda.matmul
    tf32 = matmul.allow_tf32
    _now, matmul.allow_tf32 = precision, tf32 or precision == "tf32"
    try:
        yield
    finally:
        _now, matmul.allow_tf32 = before, tf32


def precision_now() -> Precision:
    """The precision that networks compute in now."""
    return _now


def half_type() -> torch.dtype | None:
    """The 16-bit type that networks compute in now, or None."""
    return HALVES.get(_now)
