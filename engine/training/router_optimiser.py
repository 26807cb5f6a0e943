"""The optimiser of stage 2 and its learning rates."""

from __future__ import annotations

import torch

from engine.settings.run import TrainingConfig
from router import Router

DECAY = 0.01  # of the base and directional weights' rate, reached after
DECAY_STEPS = 10_000  # steps


def make_optimiser(router: Router, training: TrainingConfig) -> torch.optim.RAdam:
    """RAdam with one group per kind of parameter; the rates are those of MoE-GS's flags."""
    return torch.optim.RAdam(
        [
            {"name": "static", "params": list(router.features.static), "lr": training.featuret_lr},
            {"name": "temporal", "params": list(router.features.temporal), "lr": training.feature_lr},
            {"name": "head", "params": list(router.head.parameters()), "lr": training.rgb_lr},
        ]
    )


def set_rates(optimiser: torch.optim.Optimizer, training: TrainingConfig, step: int) -> None:
    """Sets the rates of a step, counted from 1: base and directional weights' decay exponentially, others stay."""
    for group in optimiser.param_groups:
        if group["name"] == "static":
            group["lr"] = training.featuret_lr * DECAY ** min(step / DECAY_STEPS, 1.0)
