"""Learning rates by parameter name, and their decay."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from common.text.suggestions import hint
from experts.training.recipes.recipe import OptimiserKind, Rate
from experts.training.recipes.rectified import RectifiedAdam


def build_optimiser(
    model: nn.Module, rates: Mapping[str, Rate], *, kind: OptimiserKind, extent: float, times: float = 1.0
) -> torch.optim.Optimizer:
    """An optimiser with a group for each key of `rates`, all of which are multiplied by `times`.

    A key is a parameter's whole name, or the part before one of its dots: "net" stands for "net.weight", not for
    "net_2.weight". Where several keys fit, the longest counts. Adam has 3DGS's epsilon of 1e-15, RAdam PyTorch's
    defaults (Ex4DGS). Raises ValueError for a key without a parameter, and for a parameter without a key.
    """
    chosen: dict[str, list[nn.Parameter]] = {key: [] for key in rates}
    without: list[str] = []
    for name, parameter in model.named_parameters():
        keys = [key for key in rates if name == key or name.startswith(f"{key}.")]
        if keys:
            parameter.requires_grad_()
            chosen[max(keys, key=len)].append(parameter)
        else:
            without.append(name)
    if unused := [key for key, parameters in chosen.items() if not parameters]:
        names = ", ".join(name for name, _ in model.named_parameters())
        raise ValueError(f"no parameter is named {unused[0]}; there are {names}")
    if without:
        raise ValueError(
            f"the parameter {without[0]} has no learning rate in the recipe's rates ({hint(without[0], rates)}); add "
            f'"{without[0]}": Rate(first=...), with first=0 where it is not to be trained'
        )
    groups = [
        {"params": parameters, "name": key, "lr": rates[key].first, **_ends(rates[key], extent, times)}
        for key, parameters in chosen.items()
    ]
    optimiser: torch.optim.Optimizer
    if kind == "radam":
        optimiser = RectifiedAdam(groups)
    else:
        optimiser = torch.optim.Adam(groups, eps=1e-15, fused=True)
    optimiser.register_step_post_hook(_count_changes)
    return optimiser


def _count_changes(optimiser: torch.optim.Optimizer, _args: object, _options: object) -> None:
    """Steps the version counters of parameters, which fused kernels leave: values kept of frozen models go by them."""
    for group in optimiser.param_groups:
        torch.autograd.graph.increment_version(group["params"])


def scale_to_batch(optimiser: torch.optim.Optimizer, images: int) -> None:
    """Makes an optimiser for one image an iteration one for several, before its first step.

    Rates grow by the root of their number, betas are raised to its power, and epsilon shrinks by the root: a step's
    noise is that of as many steps of one image (FreeTimeGS++'s code, after Malladi et al. 2022).
    """
    root = math.sqrt(images)
    for group in optimiser.param_groups:
        group["betas"] = tuple(beta**images for beta in group["betas"])
        group["eps"] /= root
        for name in {"lr", "first", "last"} & set(group):
            group[name] *= root


def _ends(rate: Rate, extent: float, times: float) -> dict[str, float]:
    unit = extent * times if rate.per_extent else times
    return {"first": rate.first * unit, "last": (rate.first if rate.last is None else rate.last) * unit}


def set_rates(optimiser: torch.optim.Optimizer, done: float) -> None:
    """Learning rates when a share `done` (cut to 0 ... 1) of the way from first to last is done."""
    done = min(max(done, 0.0), 1.0)
    for group in optimiser.param_groups:
        first, last = group["first"], group["last"]
        same = first == last or first <= 0 or last <= 0
        group["lr"] = first if same else math.exp((1 - done) * math.log(first) + done * math.log(last))
