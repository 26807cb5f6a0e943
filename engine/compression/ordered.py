"""Gaussians in an order in which neighbours are alike, for coding."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from engine.compression.pruned import router_of_rows
from engine.runs.run import Run
from experts.base import Expert
from experts.rows import HasRowModules, block_sizes, reorder_rows

CURVE_BITS = 20  # of each coordinate


def sorted_along_curve(run: Run) -> Run:
    """A copy of a run whose Gaussians stand beside near ones in each block: what is alike can be coded in less.

    An expert whose rows cannot be moved keeps its order.
    """
    experts = tuple(deepcopy(expert) for expert in run.experts)
    orders = []
    for expert in experts:
        if isinstance(expert, HasRowModules):
            orders.append(_order(expert, _positions(expert, run.scene.num_frames)))
            reorder_rows(expert, orders[-1])
        else:
            orders.append(torch.arange(expert.num_gaussians, device=run.device))
    return replace(run, experts=experts, router=router_of_rows(run, orders))


def _order(expert: HasRowModules, positions: Tensor) -> Tensor:
    """Indices [n] of an expert's rows along the curve, block after block."""
    parts, start = [], 0
    for part in positions.split(block_sizes(expert)):
        parts.append(start + curve_order(part))
        start += len(part)
    return torch.cat(parts)


def curve_order(positions: Tensor) -> Tensor:
    """Indices [n] of positions [n, 3] along a curve that fills space, by the bits of all coordinates (Morton 1966)."""
    if not len(positions):
        return torch.zeros(0, dtype=torch.int64, device=positions.device)
    low, high = positions.amin(0), positions.amax(0)
    cells = ((positions - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
    whole = (cells * (2**CURVE_BITS - 1)).long()
    code = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
    for bit in reversed(range(CURVE_BITS)):
        for axis in range(3):
            code = (code << 1) | ((whole[:, axis] >> bit) & 1)
    return code.argsort(stable=True)


@torch.no_grad()
def _positions(expert: Expert, frames: int) -> Tensor:
    """Where the Gaussians [n, 3] of all segments are at a frame that shows them."""
    means, seen = expert.at(0).means, set()
    positions = means.new_zeros(expert.num_gaussians, 3)
    for frame in range(frames):
        rows = expert.rows(frame)
        if (rows.start, rows.stop) not in seen:
            seen.add((rows.start, rows.stop))
            positions[rows] = expert.at(frame).means
    return positions
