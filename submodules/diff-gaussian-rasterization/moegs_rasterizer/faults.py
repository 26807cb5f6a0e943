"""Errors of one line for operators that failed: these throw nothing, but give nothing, and say why when they are asked.

csrc/guarded.h tells why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

_OUT_OF_MEMORY = re.compile(
    r"(?:CUDA )?out of memory: the rasterizer asks for (\d+) bytes|(?:CUDA failed.*)?out of memory"
)
_GIGABYTE = 1e9


def telling(library: Any, operator: Callable[..., Any]) -> Callable[..., Any]:
    """The operator of a library, which raises an error in one line where it failed.

    torch.OutOfMemoryError where its GPU, or the machine, has no memory left, else RuntimeError. A result that is empty
    without a failure is given as it is.
    """

    def told(*given: Any) -> Any:
        made = operator(*given)
        if not made:
            _raise_failure(library, given[0])
        return made

    return told


def _raise_failure(library: Any, given: Any) -> None:
    """Raise what made the latest operator of a library fail, if that is what it did; given: its first argument."""
    why = bytes(library.last_failure()).decode(errors="replace")
    found = _OUT_OF_MEMORY.match(why)
    if found is not None:
        raise torch.OutOfMemoryError(_line(found[1], given, on_gpu="CUDA" in found[0]))
    if why:
        raise RuntimeError(why)


def _line(asked: str | None, given: Any, *, on_gpu: bool) -> str:
    """The message. asked: bytes; given: an operator's first argument, a tensor or several."""
    device = (given[0] if isinstance(given, (list, tuple)) else given).device
    without = "has no room for a kernel" if on_gpu else "has no room for its lists"
    wanted = f"asks for {int(asked) / _GIGABYTE:.2f} GB" if asked else without
    free = ""
    if on_gpu and device.type == "cuda":
        left, total = (each / _GIGABYTE for each in torch.cuda.mem_get_info(device))
        free = f", {left:.2f} of {total:.2f} GB are free on {device}"
    others = "on this GPU (nvidia-smi lists them)" if on_gpu else "on this machine"
    return (
        f"{'CUDA ' if on_gpu else ''}out of memory: the rasterizer {wanted}{free}; end other processes {others}, "
        "or use smaller images or fewer Gaussians"
    )
