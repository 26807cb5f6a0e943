"""Tensors that ranks add up or hand to one another; in a process alone nothing happens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from common import ranks

MANY, WIDE = 2**14, 16  # rows, and numbers a row, from which on a gradient is looked through for zeros
AT_ONCE = 2**25  # numbers that are sent together: fewer messages, and a copy of 128 MiB at most or of one tensor


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors of one type and device by their sums over the ranks: the same bits on each."""
    if ranks.count() == 1:
        return
    for together in _packets(tensors):
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in together])
        with ranks.noticed():
            torch.distributed.all_reduce(flat)
        _fill(together, flat)


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces gradients by their sums over the ranks; one that no rank has stays None, as in a process alone.

    Of large tables only the rows and columns are sent in which a rank has more than zeros: an image shows a part of the
    Gaussians, and harmonics of high degrees are not in use from the start.
    """
    if ranks.count() == 1:
        return
    parameters = list(parameters)
    present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
    with ranks.noticed():
        torch.distributed.all_reduce(present, torch.distributed.ReduceOp.MAX)
    learned = [parameter for parameter, has in zip(parameters, present.tolist(), strict=True) if has]
    for parameter in learned:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad = parameter.grad.contiguous()
    gradients = [parameter.grad for parameter in learned if parameter.grad is not None]
    tables = [gradient.view(len(gradient), -1) for gradient in gradients if _is_table(gradient)]
    places = _used_places(tables)
    used = [table[place] for table, place in zip(tables, places, strict=True)]
    add_up([*(gradient for gradient in gradients if not _is_table(gradient)), *used])
    for table, place, sums in zip(tables, places, used, strict=True):
        table.zero_()[place] = sums  # zeros of either sign become the same on all ranks


def _is_table(gradient: Tensor) -> bool:
    return gradient.dim() > 1 and len(gradient) >= MANY and gradient.numel() >= WIDE * len(gradient)


def _used_places(tables: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Indices of the rows [r, 1] and columns [c] of tables [n, m] in which a rank has more than zeros."""
    if not tables:
        return []
    has = [table != 0 for table in tables]
    sides = [side for one in has for side in (one.any(1), one.any(0))]
    masks = torch.cat(sides).to(torch.uint8)
    with ranks.noticed():
        torch.distributed.all_reduce(masks, torch.distributed.ReduceOp.MAX)
    indices = [side.nonzero().squeeze(1) for side in masks.split([len(side) for side in sides])]
    return [(rows[:, None], columns) for rows, columns in zip(indices[::2], indices[1::2], strict=True)]


def mean_over_ranks(numbers: Sequence[float]) -> list[float]:
    """The means of numbers over the ranks."""
    if ranks.count() == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64)
    add_up([sums])
    return (sums / ranks.count()).tolist()


def handed_out(tensors: Sequence[Tensor], *, source: int) -> None:
    """Replaces tensors of one type and device by those of the rank `source`."""
    if ranks.count() == 1:
        return
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    with ranks.noticed():
        torch.distributed.broadcast(flat, src=source)
    if ranks.rank() != source:
        _fill(tensors, flat)


def _fill(tensors: Sequence[Tensor], flat: Tensor) -> None:
    """Writes numbers into tensors one after the other, in few launches."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    shaped = [part.view(tensor.shape) for tensor, part in zip(tensors, parts, strict=True)]
    torch._foreach_copy_([tensor.detach() for tensor in tensors], shaped)


def _packets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Tensors in order, as many together as AT_ONCE allows."""
    packets: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        if tensor.numel() > room:
            packets.append([])
            room = AT_ONCE
        packets[-1].append(tensor)
        room -= tensor.numel()
    return packets
