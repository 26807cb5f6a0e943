"""Stage 2's schedule: the image and the learning rates of each iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from engine.settings.run import TrainingConfig
from router import Router

DECAY = 0.01  # of the base and directional weights' rate, reached after
DECAY_ITERATIONS = 10_000  # iterations
_EPOCH_STRIDE = 1_000_003  # keeps the seeds of different runs' epochs apart


def training_pairs(views: Sequence[int], num_frames: int, *, seed: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Endless (view, frame) pairs, all of them in shuffled order, then all again in a new order.

    Pair number `start` comes first. Every epoch's order follows from the seed and the epoch alone, so that a resumed
    run goes on exactly where it stopped.
    """
    count = len(views) * num_frames
    epoch, position = divmod(start, count)
    while True:
        generator = torch.Generator().manual_seed(seed * _EPOCH_STRIDE + epoch)
        for index in torch.randperm(count, generator=generator)[position:].tolist():
            yield views[index // num_frames], index % num_frames
        epoch, position = epoch + 1, 0


def make_optimiser(router: Router, training: TrainingConfig) -> torch.optim.RAdam:
    """RAdam with one group per kind of parameter; the rates are those of MoE-GS's flags."""
    return torch.optim.RAdam(
        [
            {"name": "static", "params": list(router.features.static), "lr": training.featuret_lr},
            {"name": "temporal", "params": list(router.features.temporal), "lr": training.feature_lr},
            {"name": "head", "params": list(router.head.parameters()), "lr": training.rgb_lr},
        ]
    )


def set_router_rates(optimiser: torch.optim.Optimizer, training: TrainingConfig, iteration: int) -> None:
    """Sets the rates of an iteration, counted from 1: that of base and directional weights decays exponentially."""
    for group in optimiser.param_groups:
        if group["name"] == "static":
            group["lr"] = training.featuret_lr * DECAY ** min(iteration / DECAY_ITERATIONS, 1.0)
