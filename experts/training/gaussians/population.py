"""Gaussians that come and go together, and what an optimiser knows about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

Slot = tuple[nn.Module, str]  # a module and the name of its parameter that has one row for each Gaussian


class Population:
    """Parameters of a model that have a row for each of the same Gaussians.

    When rows are added, removed or replaced, the moments of the attached optimiser follow: kept rows keep theirs, new
    and replaced values begin with zeros, as in 3DGS's trainer (Kerbl et al. 2023).
    """

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        """slots: by the name that trainers ask for, whatever the module calls the parameter."""
        self._slots = dict(slots)
        self._optimiser: torch.optim.Optimizer | None = None

    def require(self, names: Sequence[str]) -> None:
        """Raises ValueError where a name is missing that a trainer will ask for."""
        if missing := [name for name in names if name not in self._slots]:
            raise ValueError(
                f"the Population of {', '.join(self._slots)} lacks {', '.join(missing)}: a trainer asks for exactly "
                f'these names; write Population({{"{missing[0]}": (module, "its parameter"), ...}})'
            )

    def attach(self, optimiser: torch.optim.Optimizer) -> None:
        """Lets an optimiser's moments follow the rows from now on; parameters it does not hold change without them."""
        self._optimiser = optimiser

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._slots)

    @property
    def count(self) -> int:
        return len(self[next(iter(self._slots))])

    @property
    def device(self) -> torch.device:
        return self[next(iter(self._slots))].device

    def __getitem__(self, name: str) -> nn.Parameter:
        module, attribute = self._slots[name]
        parameter: nn.Parameter = getattr(module, attribute)
        return parameter

    def rows(self, chosen: Tensor) -> dict[str, Tensor]:
        """Copies of the chosen rows (mask [n] or indices) of every parameter."""
        return {name: self[name].detach()[chosen] for name in self._slots}

    def append(self, new: Mapping[str, Tensor]) -> None:
        """Adds rows to every parameter; raises KeyError where one is missing."""
        for name, rows in {name: new[name].to(self[name]) for name in self._slots}.items():
            zeros = torch.zeros_like(rows)
            self._replace(name, torch.cat([self[name].detach(), rows]), _then(zeros))

    def keep(self, mask: Tensor) -> None:
        """Keeps the rows where a mask [n] is true."""
        for name in self._slots:
            self._replace(name, self[name].detach()[mask], lambda moment: moment[mask])

    def put(self, name: str, values: Tensor) -> None:
        """Replaces a parameter's values, also by some of another shape."""
        values = values.detach().to(self[name])
        self._replace(name, values, lambda moment: torch.zeros_like(values))

    @torch.no_grad()
    def overwrite(self, rows: Tensor, values: Mapping[str, Tensor]) -> None:
        """Writes rows of every parameter in place and zeroes the moments of these rows alone.

        rows: mask [n], or indices [m] without repetition. values: [m, ...] by name. Raises KeyError where a parameter
        is missing and ValueError where a shape does not fit, before anything is written.
        """
        indices = rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows
        written = {name: values[name].detach().to(self[name]) for name in self._slots}
        for name, new in written.items():
            if new.shape != (shape := (len(indices), *self[name].shape[1:])):
                raise ValueError(f"{name}: values of {len(indices)} rows have shape {shape}, not {tuple(new.shape)}")
        for name, new in written.items():
            parameter = self[name]
            parameter[indices] = new
            for moment in self._moments(parameter):
                moment[indices] = 0

    def _moments(self, parameter: nn.Parameter) -> list[Tensor]:
        """Those tensors of the optimiser's state that have the parameter's shape."""
        state = {} if self._optimiser is None else self._optimiser.state.get(parameter, {})
        return [value for value in state.values() if isinstance(value, Tensor) and value.shape == parameter.shape]

    def _replace(self, name: str, values: Tensor, follow: Callable[[Tensor], Tensor]) -> None:
        module, attribute = self._slots[name]
        old: nn.Parameter = getattr(module, attribute)
        new = nn.Parameter(values.contiguous(), requires_grad=old.requires_grad)
        setattr(module, attribute, new)
        if self._optimiser is not None:
            _exchange(self._optimiser, old, new, follow)


def _then(zeros: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda moment: torch.cat([moment, zeros])


def _exchange(
    optimiser: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, follow: Callable[[Tensor], Tensor]
) -> None:
    """Puts a parameter in another's place; its moments are those tensors of the state that have its shape."""
    for group in optimiser.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    state = optimiser.state.pop(old, None)
    if state is not None:
        optimiser.state[new] = {
            key: follow(value).contiguous() if isinstance(value, Tensor) and value.shape == old.shape else value
            for key, value in state.items()
        }


def fill_parameters(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Gives a model the tensors of another of its kind, also where it has more Gaussians."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if own.keys() != values.keys():
        raise ValueError(f"parameters differ: {', '.join(sorted(own.keys() ^ values.keys()))}")
    for name, tensor in values.items():
        path, _, attribute = name.rpartition(".")
        owner, old = model.get_submodule(path), own[name]
        value = tensor.detach().to(old.device, copy=True)
        if isinstance(old, nn.Parameter):
            value = nn.Parameter(value, requires_grad=old.requires_grad)
        setattr(owner, attribute, value)
