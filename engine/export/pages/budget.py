"""Pages of a given size: the Gaussians that add least to the images are left out, until the others fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.export.pages.data import PageExpert
from engine.export.pages.page import CodedPage

ENCODES = 4  # by predictions, at most
FEWER = 4  # times fewer Gaussians of each further page where none of them fits
LEAST_FULL = 0.95  # of the size asked for, below which more is tried
AIM = 0.975  # of the size asked for
A_GAUSSIAN = 2.7  # bytes of what the pieces of a Gaussian share, in those of one of its pieces

Coder = Callable[[Sequence[PageExpert]], CodedPage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A page that fits."""

    coded: CodedPage
    least: float  # px of the contribution below which Gaussians were left out; 0: none was
    left_out: dict[str, int]  # by expert


def fitted(experts: Sequence[PageExpert], most: Sequence[Tensor], code: Coder, *, size: int, wanted: int) -> Fitted:
    """The page of the experts' most important Gaussians that takes at most `wanted` bytes.

    most: by expert [its rows], as `most_contributions` gives them. code: encodes a page. size: of the page with all of
    them.

    The sizes of pages are predicted from counts of Gaussians and of their pieces, by a line through the two pages that
    were encoded last. Where none of them fits, smaller ones follow, to that with one Gaussian of each expert.
    """
    levels = torch.cat([each[_rows(expert)] for expert, each in zip(experts, most, strict=True)])
    costs = torch.cat([A_GAUSSIAN + _counts(expert) for expert in experts])
    order = levels.argsort(descending=True)
    levels, sums = levels[order], costs[order].cumsum(0)
    known = [(0.0, 0), (float(sums[-1]), size)]  # costs and sizes of pages

    def tried(position: int) -> Fitted:
        least = float(levels[position])
        parts = [_above(least, expert, each[expert.rows]) for expert, each in zip(experts, most, strict=True)]
        found = Fitted(coded=code(parts), least=least, left_out=_left_out(experts, parts))
        known.append((sum(float((A_GAUSSIAN + _counts(each)).sum()) for each in parts), found.coded.size))
        return found

    best, fewest = None, len(levels) - 1
    for _ in range(ENCODES):
        position = int(torch.searchsorted(sums, _cost_of(AIM * wanted, known)).clamp(max=len(levels) - 1))
        found, fewest = tried(position), min(fewest, position)
        if best is None or _rank(found, wanted) > _rank(best, wanted):
            best = found
        if LEAST_FULL * wanted <= found.coded.size <= wanted:
            break
    assert best is not None, "ENCODES is not 0"
    while best.coded.size > wanted and fewest > 0:
        fewest //= FEWER
        best = tried(fewest)
    return best


def _cost_of(size: float, known: Sequence[tuple[float, int]]) -> float:
    """The cost of a page of a size, by the line through the last two that are known."""
    (one, small), (other, large) = known[-2:]
    return max(0.0, one + (other - one) * (size - small) / (large - small)) if large != small else other


def _above(least: float, expert: PageExpert, most: Tensor) -> PageExpert:
    """The splats of Gaussians whose contribution [n] is larger; that with the largest one in any case."""
    return expert.of((most > least) | (expert.rows == expert.rows[most.argmax()]))


def _rank(found: Fitted, wanted: int) -> tuple[bool, int]:
    """How good a page is: those that fit before others; of those the largest, of others the smallest."""
    size = found.coded.size
    return size <= wanted, size if size <= wanted else -size


def _left_out(experts: Sequence[PageExpert], parts: Sequence[PageExpert]) -> dict[str, int]:
    return {each.name: len(_rows(each)) - len(_rows(part)) for each, part in zip(experts, parts, strict=True)}


def _rows(expert: PageExpert) -> Tensor:
    return expert.rows.unique()


def _counts(expert: PageExpert) -> Tensor:
    """The pieces of each Gaussian, in the order of `_rows`."""
    return expert.rows.unique(return_counts=True)[1]
