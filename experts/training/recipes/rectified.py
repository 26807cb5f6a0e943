"""RAdam by Adam's fused kernel: one launch a parameter in place of twenty; training waits for launches.

The plain version is torch.optim.RAdam. `build_optimiser` in rates.py chooses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_TRUSTED = 5.0  # length of the variance's average from which on the variance is used


class RectifiedAdam(torch.optim.Adam):
    """torch.optim.RAdam with its default settings, up to rounding (Liu et al., ICLR 2020, algorithm 2).

    Every group has one parameter; ValueError otherwise. RAdam's rectification is a factor on Adam's step. Its epsilon
    counts before the correction of the variance's bias, Adam's after it. The first five steps, which have no variance
    yet, are those of momentum.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, betas=_BETAS, eps=_EPSILON, fused=True)
        for group in self.param_groups:
            if len(group["params"]) != 1:
                count = len(group["params"])
                raise ValueError(f"group {group.get('name', '')!r} has {count} parameters; give it one")
            group["taken"] = 0  # steps

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient; gradients of the first five steps are dropped."""
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            parameter = group["params"][0]
            if parameter.grad is None:
                continue
            group["taken"] += 1
            factor = rectification(group["taken"])
            if factor is None:
                self._move_by_momentum(parameter, group)
                parameter.grad = None
            else:
                group["lr"] *= factor
                group["eps"] = _EPSILON / math.sqrt(1 - _BETAS[1] ** group["taken"])
        super().step()
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate

    def _move_by_momentum(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1 - _BETAS[0])
        state["exp_avg_sq"].mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        parameter.add_(state["exp_avg"], alpha=-group["lr"] / (1 - _BETAS[0] ** group["taken"]))


def rectification(taken: int) -> float | None:
    """RAdam's factor on the step number `taken`, counted from 1; None while the variance is not to be trusted.

    Liu et al., ICLR 2020, algorithm 2.
    """
    beta = _BETAS[1]
    longest = 2 / (1 - beta) - 1
    length = longest - 2 * taken * beta**taken / (1 - beta**taken)
    if length <= _TRUSTED:
        return None
    return math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
