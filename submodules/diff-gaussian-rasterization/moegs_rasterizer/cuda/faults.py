"""Errors of one line for operators that failed: these throw nothing, but give nothing, and say why when they are asked.

csrc/cuda/guarded.h tells why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

_OUT_OF_MEMORY = re.compile(
    r"CUDA out of memory: the rasterizer asks for (\d+) bytes|CUDA failed while .*out of memory"
)
_GIGABYTE = 1e9


def telling(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The operator, which raises an error in one line where it failed.

    torch.OutOfMemoryError where its GPU has no memory left, else RuntimeError. A result that is empty without a failure
    is given as it is.
    """

    def told(*given: Any) -> Any:
        made = operator(*given)
        if not made:
            _raise_failure(given[0])
        return made

    return told


def _raise_failure(given: Any) -> None:
    """Raise what made the latest operator fail, if that is what it did; given: its first argument."""
    why = bytes(torch.ops.moegs_rasterizer_cuda.last_failure()).decode(errors="replace")
    found = _OUT_OF_MEMORY.search(why)
    if found is not None:
        raise torch.OutOfMemoryError(_line(found[1], given))
    if why:
        raise RuntimeError(why)


def _line(asked: str | None, given: Any) -> str:
    """The message. asked: bytes; given: an operator's first argument, a tensor or several."""
    device = (given[0] if isinstance(given, (list, tuple)) else given).device
    wanted = f"asks for {int(asked) / _GIGABYTE:.2f} GB" if asked else "has no room for a kernel"
    free = ""
    if device.type == "cuda":
        left, total = (each / _GIGABYTE for each in torch.cuda.mem_get_info(device))
        free = f", {left:.2f} of {total:.2f} GB are free on {device}"
    return (
        f"CUDA out of memory: the rasterizer {wanted}{free}; end other processes on this GPU (nvidia-smi lists them), "
        "or use smaller images or fewer Gaussians"
    )
