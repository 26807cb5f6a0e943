"""Numbers on a device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[n], made once: copying numbers to a GPU waits until it has done everything before."""
    with torch.inference_mode(False):  # autograd keeps no tensor that was made in it
        return torch.tensor(values, dtype=dtype, device=device)
