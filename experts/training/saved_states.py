"""Saved states of trainings, compared with the training that they are for, before anything of them is used.

PyTorch's fused optimisers read as many numbers of a moment as its parameter has, whatever the moment's shape is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from experts.training.gaussians.population import Population

STEP, MOMENTS = "step", ("exp_avg", "exp_avg_sq")


def check_moments(optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError where a state dict of an Adam or a RAdam is not one of this optimiser.

    Groups have the same keys, parameters and kinds of finite numbers. A parameter has no moments, or all of them:
    `step`, one number, and `exp_avg` and `exp_avg_sq` of its shape and type.
    """
    own = optimiser.state_dict()
    _require(set(saved) == set(own), "an optimiser's state has other parts")
    _require(len(saved["param_groups"]) == len(own["param_groups"]), "an optimiser has another number of groups")
    for mine, theirs in zip(own["param_groups"], saved["param_groups"], strict=True):
        _require(set(mine) == set(theirs), f"group {mine.get('name')} has other settings")
        for key, value in mine.items():
            _require(_is_alike(theirs[key], value), f"{key} of group {mine.get('name')} is {theirs[key]!r}")
        _require(mine["params"] == theirs["params"], f"group {mine.get('name')} has other parameters")
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, entries in saved["state"].items():
        is_index = isinstance(index, int) and 0 <= index < len(parameters)
        _require(is_index, f"moments of parameter {index!r}, there are {len(parameters)}")
        _require(set(entries) == {STEP, *MOMENTS}, f"parameter {index} has the moments {sorted(map(str, entries))}")
        step = torch.as_tensor(entries[STEP])
        _require(step.numel() == 1 and 0 <= float(step) < math.inf, f"the step of parameter {index}")
        for name in MOMENTS:
            require_like(entries[name], parameters[index], f"{name} of parameter {index}")
        _require(bool((entries[MOMENTS[1]] >= 0).all()), f"{MOMENTS[1]} of parameter {index} is negative")


def load_moments(optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimiser the state dict of another, once `check_moments` has found nothing; raises what that raises.

    Moments lie in memory as their parameters do.
    """
    check_moments(optimiser, saved)
    optimiser.load_state_dict(dict(saved))
    for parameter, entries in optimiser.state.items():
        for name in MOMENTS:
            if entries[name].stride() != parameter.stride():
                entries[name] = torch.empty_like(parameter).copy_(entries[name])


def check_parameters(model: nn.Module, values: Mapping[str, Tensor], populations: Sequence[Population]) -> None:
    """Raise ValueError where tensors by name are not those of a model, which may have had other numbers of Gaussians.

    Types and shapes are the model's. Parameters of Gaussians may have another number of rows, the same for all of a
    population, and another number of key frames (the dimension in the middle).
    """
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    _require(own.keys() == values.keys(), f"parameters differ: {', '.join(sorted(own.keys() ^ set(values)))}")
    rows = {id(population[name]): number for number, population in enumerate(populations) for name in population.names}
    counts: dict[int, int] = {}
    for name, mine in own.items():
        value, number = values[name], rows.get(id(mine))
        if number is None:
            require_like(value, mine, name)
            continue
        _require(isinstance(value, Tensor) and value.ndim == mine.ndim and value.ndim > 0, f"{name} has another shape")
        expected = [counts.setdefault(number, len(value)), *value.shape[1:-1], *mine.shape[max(1, mine.ndim - 1) :]]
        require_like(value, mine, name, shape=expected)


def check_rows(saved: Mapping[str, Tensor], own: Mapping[str, Tensor], *, count: int) -> None:
    """Raise ValueError where statistics by name are not numbers [count] of the types that a training has."""
    _require(saved.keys() == own.keys(), f"statistics differ: {', '.join(sorted(own.keys() ^ set(saved)))}")
    for name, mine in own.items():
        require_like(saved[name], mine, f"the statistics {name}", shape=[count, *mine.shape[1:]], finite=False)


def require_like(
    value: Any, own: Tensor, name: str, *, shape: Iterable[int] | None = None, finite: bool = True
) -> None:
    """Raise ValueError where a value is no finite tensor of another's type and shape, or of the shape that is given.

    finite False: infinite values, which minima begin with, are right, NaN is not.
    """
    wanted = list(own.shape if shape is None else shape)
    _require(isinstance(value, Tensor), f"{name} is a {type(value).__name__}")
    found = f"{name} is {list(value.shape)} of {value.dtype}, {wanted} of {own.dtype} expected"
    _require(list(value.shape) == wanted and value.dtype == own.dtype, found)
    sound = not value.is_floating_point() or not bool(value.isnan().any() if not finite else (~value.isfinite()).any())
    _require(sound, f"{name} has NaN or infinite values")


def require_indices(values: Iterable[Any] | Tensor, below: int, name: str) -> None:
    """Raise ValueError where a value, or one of a tensor int64, is no whole number from 0 to below `below`."""
    if isinstance(values, Tensor):
        _require(values.dtype == torch.int64, f"{name} holds {values.dtype}, int64 expected")
        values = [*values.aminmax()] if values.numel() else []
        values = [int(value) for value in values]
    for value in values:
        is_index = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below
        _require(is_index, f"{name} holds {value!r}, whole numbers below {below} expected")


def _is_alike(value: Any, own: Any) -> bool:
    if isinstance(own, (list, tuple)):
        return isinstance(value, type(own)) and len(value) == len(own) and all(map(_is_alike, value, own))
    if isinstance(own, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is type(own)


def _require(is_right: bool, fault: str) -> None:
    if not is_right:
        raise ValueError(fault)
