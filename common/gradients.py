"""Backward passes of trainings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_MOST = 0.75  # of the rows: with more, picking them out likely costs what it saves


def backward(loss: Tensor) -> None:
    """Adds a loss's gradients to those of the parameters, on the caller's thread.

    autograd has a thread of its own for each GPU. Waking it took up to 0.4 ms, about as long as a small backward pass,
    and nothing on one of three machines (docs/dev/rasterizer.md).
    """
    with torch.autograd.set_multithreading_enabled(False):
        loss.backward()


def rows_with_gradients(gradients: Sequence[Tensor], *, fewest_on_gpu: int | None = None) -> Tensor | None:
    """Numbers [m] of the rows in which one of the gradients [n, c] is not 0; None where all are to be taken.

    An image shows a part of the Gaussians, and what it does not show has gradients of 0. All rows are taken where most
    have gradients, and on a GPU where there are fewer than fewest_on_gpu (None: always), as counting waits for it.
    """
    count, device = len(gradients[0]), gradients[0].device
    if device.type == "cuda" and (fewest_on_gpu is None or count < fewest_on_gpu):
        return None
    used = torch.stack([gradient.any(1) for gradient in gradients]).any(0)
    rows = used.nonzero().squeeze(1)
    return rows if len(rows) <= _MOST * count else None
