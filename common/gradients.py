"""Backward passes of trainings."""

from __future__ import annotations

import torch
from torch import Tensor


def backward(loss: Tensor) -> None:
    """Adds a loss's gradients to those of the parameters, on the caller's thread.

    autograd has a thread of its own for each GPU. Waking it took up to 0.4 ms, about as long as a small backward pass,
    and nothing on one of three machines (docs/dev/rasterizer.md).
    """
    with torch.autograd.set_multithreading_enabled(False):
        loss.backward()
