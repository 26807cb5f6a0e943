"""Values of the pieces of a Gaussian that stay from piece to piece, as long as what is allowed overlaps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def steady(low: Tensor, high: Tensor, rows: Tensor, *, groups: Sequence[int]) -> Tensor:
    """Values [n, k] from `low` to `high` [n, k] that change as seldom as they can, each group of columns at once.

    rows: [n] the Gaussian of a piece. Pieces of a Gaussian are in the order of time. groups: the widths of groups,
    which sum to k. A value is the middle of what all pieces that share it allow.
    """
    order = rows.argsort(stable=True)
    begins = torch.ones_like(rows, dtype=torch.bool)
    begins[1:] = rows[order][1:] != rows[order][:-1]
    low, high = low[order], high[order]
    fresh = _narrowed(low, high, begins, groups)
    found = torch.empty_like(low)
    for part, columns in enumerate(_columns(groups)):
        ends = torch.nonzero(torch.cat([fresh[1:, part], fresh.new_ones(1)]))[:, 0]  # all that share it were narrowed
        last = ends[fresh[:, part].cumsum(0) - 1]
        found[order, columns] = ((low[:, columns] + high[:, columns]) / 2)[last]
    return found


def _narrowed(low: Tensor, high: Tensor, begins: Tensor, groups: Sequence[int]) -> Tensor:
    """Narrows ranges, in place, to what the pieces since the last fresh value allow; those of fresh ones [n, groups].

    begins: [n] where a Gaussian's first piece is.
    """
    positions = torch.arange(len(begins), device=begins.device)
    rank = positions - torch.where(begins, positions, 0).cummax(0).values
    by_rank = rank.argsort(stable=True)
    fresh = begins[:, None].repeat(1, len(groups))
    for each in by_rank.split(torch.bincount(rank).tolist())[1:]:
        for part, columns in enumerate(_columns(groups)):
            lowest = torch.maximum(low[each, columns], low[each - 1, columns])
            highest = torch.minimum(high[each, columns], high[each - 1, columns])
            goes_on = (lowest <= highest).all(dim=1, keepdim=True)
            low[each, columns] = torch.where(goes_on, lowest, low[each, columns])
            high[each, columns] = torch.where(goes_on, highest, high[each, columns])
            fresh[each, part] = ~goes_on[:, 0]
    return fresh


def _columns(groups: Sequence[int]) -> list[slice]:
    ends = torch.tensor(groups).cumsum(0).tolist()
    return [slice(end - width, end) for width, end in zip(groups, ends, strict=True)]
