"""RAdam for the router in two launches a group, where torch.optim.RAdam takes some fifteen."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from experts.training.recipes.rectified import rectification


class FusedRAdam(torch.optim.RAdam):
    """torch.optim.RAdam with its default settings, up to rounding; its states and groups, so that either goes on.

    From the sixth step on RAdam is Adam with a factor on its rate (Liu et al., ICLR 2020, algorithm 2), but that its
    epsilon counts before the correction of the variance's bias. Earlier steps are torch.optim.RAdam's own.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient."""
        moved = [(group, taken, alike) for group in self.param_groups for taken, alike in self._by_step(group).items()]
        if any(rectification(taken) is None for _, taken, _ in moved):
            super().step()
            return
        for group, taken, alike in moved:
            self._move(group, taken, alike)

    def _by_step(self, group: dict[str, Any]) -> dict[int, list[Tensor]]:
        """A group's parameters with gradients, by the number of the step that they take now."""
        found: dict[int, list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                found[int(self.state[parameter].get("step", 0)) + 1].append(parameter)
        return found

    def _move(self, group: dict[str, Any], taken: int, alike: list[Tensor]) -> None:
        factor, (first, second) = rectification(taken), group["betas"]
        assert factor is not None
        states = [self.state[parameter] for parameter in alike]
        number = torch.full((), float(taken), device=alike[0].device)
        torch._fused_adam_(
            alike,
            [parameter.grad for parameter in alike if parameter.grad is not None],  # all have one
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [number] * len(alike),
            lr=group["lr"] * factor,
            beta1=first,
            beta2=second,
            weight_decay=0.0,
            eps=group["eps"] / math.sqrt(1 - second**taken),
            amsgrad=False,
            maximize=False,
        )
        for state in states:
            state["step"] += 1
