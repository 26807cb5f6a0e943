"""Which image each training step sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

_EPOCH_STRIDE = 1_000_003  # keeps the seeds of different runs' epochs apart


def training_pairs(views: Sequence[int], num_frames: int, *, seed: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Endless (view, frame) pairs, all of them in shuffled order, then all again in a new order.

    Step `start` comes first. Every epoch's order follows from the seed and the epoch alone, so that a resumed run goes
    on exactly where it stopped.
    """
    count = len(views) * num_frames
    epoch, position = divmod(start, count)
    while True:
        generator = torch.Generator().manual_seed(seed * _EPOCH_STRIDE + epoch)
        for sample in torch.randperm(count, generator=generator)[position:].tolist():
            yield views[sample // num_frames], sample % num_frames
        epoch, position = epoch + 1, 0
