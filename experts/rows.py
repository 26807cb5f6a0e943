"""Removal of Gaussians from a loaded expert, and their order."""

from __future__ import annotations

from itertools import chain
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class HasRowModules(Protocol):
    """An expert whose Gaussians can be removed."""

    @property
    def row_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """By block of rows of its routing table, in their order: modules whose own tensors have a row a Gaussian.

        A module's own tensors are its parameters and buffers without those of modules in it.
        """
        ...


def block_sizes(expert: HasRowModules) -> list[int]:
    """Rows of each block, in the order of the routing table."""
    return [len(next(_own(modules[0]))[1]) for modules in expert.row_modules]


def keep_rows(expert: HasRowModules, kept: Tensor) -> None:
    """Removes, in place, the Gaussians of an expert for which a mask [n] of its routing table's rows is False."""
    for modules, rows in zip(expert.row_modules, kept.split(block_sizes(expert)), strict=True):
        for module in modules:
            _replace(module, rows)


def reorder_rows(expert: HasRowModules, order: Tensor) -> None:
    """Puts, in place, the Gaussians of an expert in another order [n]: of rows of its routing table, by block."""
    start = 0
    for modules, rows in zip(expert.row_modules, order.split(block_sizes(expert)), strict=True):
        for module in modules:
            _replace(module, rows - start)
        start += len(rows)


def bytes_a_row(expert: HasRowModules) -> list[int]:
    """Bytes of a Gaussian's own tensors in each block."""
    return [
        sum(tensor[:1].nbytes for module in modules for _, tensor in _own(module)) for modules in expert.row_modules
    ]


def _own(module: nn.Module) -> chain[tuple[str, Tensor]]:
    return chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))


def _replace(module: nn.Module, rows: Tensor) -> None:
    for name, tensor in list(_own(module)):
        changed = tensor.detach()[rows.to(tensor.device)]
        if isinstance(tensor, nn.Parameter):
            setattr(module, name, nn.Parameter(changed, requires_grad=tensor.requires_grad))
        else:
            module.register_buffer(name, changed)


def all_but_lowest(scores: Tensor, share: float, blocks: list[int]) -> Tensor:
    """Mask [n] without the given share of rows, those of the lowest scores [n]; each block keeps its best row.

    Files of an expert without any Gaussian in a block could not be read again. Of equal scores the earlier rows stay.
    """
    removed = round(share * len(scores))
    kept = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    kept[scores.flip(0).argsort(stable=True)[:removed].neg() + len(scores) - 1] = False
    start = 0
    for size in blocks:
        if size:
            kept[start + int(scores[start : start + size].argmax())] = True
        start += size
    return kept
