"""Learning rates by parameter name, and their decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from experts.training.rectified import RectifiedAdam

OptimiserKind = Literal["adam", "radam"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A learning rate, log-linear from first to last, or constant."""

    first: float
    last: float | None = None  # None: constant
    per_extent: bool = False  # multiplied by the scene's extent, as 3DGS does for lengths


def build_optimiser(
    model: nn.Module, rates: Mapping[str, Rate], *, kind: OptimiserKind, extent: float
) -> torch.optim.Optimizer:
    """An optimiser with a group for each name; the longest prefix of a parameter's name that `rates` has counts.

    Parameters without one are frozen. Adam has 3DGS's epsilon of 1e-15, RAdam PyTorch's defaults (Ex4DGS). Raises
    ValueError for a rate that no parameter takes.
    """
    chosen: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in rates}
    for name, parameter in model.named_parameters():
        prefixes = [prefix for prefix in rates if name == prefix or name.startswith(f"{prefix}.")]
        parameter.requires_grad_(bool(prefixes))
        if prefixes:
            chosen[max(prefixes, key=len)].append(parameter)
    if unused := [prefix for prefix, parameters in chosen.items() if not parameters]:
        names = ", ".join(name for name, _ in model.named_parameters())
        raise ValueError(f"no parameter is named {unused[0]}; there are {names}")
    groups = [
        {"params": parameters, "name": prefix, "lr": rate.first, **_ends(rates[prefix], extent)}
        for prefix, parameters in chosen.items()
        if (rate := rates[prefix])
    ]
    if kind == "radam":
        return RectifiedAdam(groups)
    return torch.optim.Adam(groups, eps=1e-15, fused=True)


def _ends(rate: Rate, extent: float) -> dict[str, float]:
    unit = extent if rate.per_extent else 1.0
    return {"first": rate.first * unit, "last": (rate.first if rate.last is None else rate.last) * unit}


def set_rates(optimiser: torch.optim.Optimizer, done: float) -> None:
    """Learning rates when a share `done` (cut to 0 ... 1) of the way from first to last is done."""
    done = min(max(done, 0.0), 1.0)
    for group in optimiser.param_groups:
        first, last = group["first"], group["last"]
        same = first == last or first <= 0 or last <= 0
        group["lr"] = first if same else math.exp((1 - done) * math.log(first) + done * math.log(last))
