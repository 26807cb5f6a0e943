"""Errors of one line in place of those that the operators throw."""

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
    """The operator, which raises torch.OutOfMemoryError in one line where its GPU has no memory left."""

    def told(*given: Any) -> Any:
        try:
            return operator(*given)
        except RuntimeError as error:
            found = _OUT_OF_MEMORY.search(str(error))
            if found is None:
                raise
            raise torch.OutOfMemoryError(_line(found[1], given[0])) from error

    return told


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
