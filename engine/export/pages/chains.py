"""Chains: the successive pieces of each Gaussian as small integers, most of which are 0; engine/player/data.js reads
them.

The places of a chain are on a grid of its own, whose step follows from the Gaussian's size. A chain begins in a cell of
a coarse grid. What a piece shares with the one before it is not told again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Columns = dict[str, np.ndarray]

CURVE_BITS = 10  # of a cell's coordinate, in the span that most Gaussians lie in
MOST_STEPS = 60_000  # of a chain's grid in a cell
FARTHEST = 2**29  # cells or steps: what is farther away is there; differences have 32 bits
SHARED = (
    "quats",
    "scales",
    "opacities",
    "colours",
    "harmonics",
)  # values of a piece: a bit each, set where they change
ONCE = ("routing", "widths", "times")  # values of a chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The coarse grid of an expert: its corner, and the size of a cell in scene units."""

    corner: tuple[float, float, float]
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Pieces of Gaussians, in chains: those of a chain one after the other, in the order of time."""

    starts: np.ndarray  # [n] true where a chain begins
    places: np.ndarray  # [n, 3] at the first frame
    moves: np.ndarray  # [n, 3] from the first frame to the last
    first: np.ndarray  # [n] frames
    last: np.ndarray  # [n]
    values: Mapping[str, np.ndarray]  # [n, …] integers, by the names of SHARED; those of ONCE as they are


def chain_order(rows: np.ndarray, first: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, Cells]:
    """The order [n] of pieces in chains, which lie along a curve through space (Morton 1966), and their coarse grid."""
    by_row = np.lexsort((first, rows))
    begins = _begins(rows[by_row])
    heads = places[by_row][begins]
    low = np.percentile(heads, 1, axis=0)
    size = max(float((np.percentile(heads, 99, axis=0) - low).max()) / 2**CURVE_BITS, 1e-6)
    cells = ((heads - low) / size).clip(0, 2**CURVE_BITS - 1).astype(np.int64)
    code = np.zeros(len(cells), np.int64)
    for bit in range(CURVE_BITS):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    rank = code.argsort(kind="stable").argsort(kind="stable")
    order = by_row[rank[np.cumsum(begins) - 1].argsort(kind="stable")]
    return order, Cells(corner=(float(low[0]), float(low[1]), float(low[2])), size=size)


def steps_of(scales: np.ndarray, fine: float, cells: Cells) -> np.ndarray:
    """The step [chains] of the grid of chains whose first pieces have log scales [chains, 3]: a share of the size."""
    return np.maximum(fine * np.exp(scales.mean(axis=1)), cells.size / MOST_STEPS)


def chained(pieces: Pieces, log_scales: np.ndarray, *, fine: float, cells: Cells) -> Columns:
    """The columns of pieces. log_scales: [n, 3], as a reader knows them."""
    starts, heads = pieces.starts, np.flatnonzero(pieces.starts)
    chain = np.cumsum(starts) - 1
    steps = steps_of(log_scales[heads], fine, cells)[chain, None]
    corners = _whole(np.floor((pieces.places[heads] - cells.corner) / cells.size))
    within = pieces.places - (np.asarray(cells.corner) + corners * cells.size)[chain]
    places = _whole(within / steps)
    lengths = pieces.last - pieces.first
    moves = _whole(pieces.moves / steps) * (lengths > 0)[:, None]
    hops = places[1:] - places[:-1]
    goes_on = ~starts[1:]
    gaps = pieces.first.copy()
    gaps[1:][goes_on] -= pieces.last[:-1][goes_on] + 1
    columns = {
        "pieces": np.diff(np.append(heads, len(starts))),
        "cells": np.diff(corners, axis=0, prepend=0),
        "begins": places[heads],
        "gaps": gaps,
        "lengths": lengths,
        "hops": hops[goes_on],
        "bends": moves - expected_moves(starts, pieces.first, lengths, hops),
    }
    fresh = np.zeros(len(starts), np.int64)
    for bit, name in enumerate(SHARED):
        values = pieces.values[name].reshape(len(starts), -1)
        changed = starts.copy()
        changed[1:] |= (values[1:] != values[:-1]).any(axis=1)
        fresh |= changed.astype(np.int64) << bit
        columns[name] = pieces.values[name][changed]
    return columns | {"fresh": fresh} | {name: pieces.values[name][heads] for name in ONCE}


def expected_moves(starts: np.ndarray, first: np.ndarray, lengths: np.ndarray, hops: np.ndarray) -> np.ndarray:
    """The moves [n, 3] of pieces that lead to where the next ones begin; 0 of the last piece of a chain."""
    found = np.zeros((len(starts), 3), np.int64)
    goes_on = np.flatnonzero(~starts[1:])
    share = lengths[goes_on] / (first[goes_on + 1] - first[goes_on])
    found[goes_on] = np.floor(hops[goes_on] * share[:, None] + 0.5).astype(np.int64)
    return found


def unchained(columns: Mapping[str, np.ndarray], counts: Sequence[int]) -> Columns:
    """By name, integers [n, …] of all pieces: `places` and `moves` in steps of their chains, `first`, `last`, `chain`,
    `corners`, `head_scales` of the chain's first piece, and the values of pieces and of chains.

    counts: the chains of each expert.
    """
    pieces = columns["pieces"]
    chain = np.repeat(np.arange(len(pieces)), pieces)
    heads = np.cumsum(pieces) - pieces
    starts = np.zeros(len(chain), bool)
    starts[heads] = True
    lengths = columns["lengths"]
    spans = columns["gaps"] + np.where(starts, 0, np.append(0, lengths[:-1]) + 1)
    first = _sums(spans, heads, chain)
    hops = np.zeros((len(chain), 3), np.int64)
    hops[starts], hops[~starts] = columns["begins"], columns["hops"]
    moves = columns["bends"] + expected_moves(starts, first, lengths, hops[1:])
    ends = np.cumsum(counts)
    corners = np.concatenate(
        [np.cumsum(columns["cells"][end - count : end], axis=0) for count, end in zip(counts, ends, strict=True)]
    )
    found = {"chain": chain, "first": first, "last": first + lengths, "moves": moves, "corners": corners[chain]}
    found["places"] = _sums(hops, heads, chain)
    for bit, name in enumerate(SHARED):
        found[name] = columns[name][np.cumsum(columns["fresh"] >> bit & 1) - 1]
    found["head_scales"] = found["scales"][heads][chain]
    return found | {name: columns[name][chain] for name in ONCE}


def _whole(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(-FARTHEST, FARTHEST).astype(np.int64)


def _sums(values: np.ndarray, heads: np.ndarray, chain: np.ndarray) -> np.ndarray:
    """Running sums in each chain."""
    sums = np.cumsum(values, axis=0)
    return sums - (sums[heads] - values[heads])[chain]


def _begins(rows: np.ndarray) -> np.ndarray:
    begins = np.ones(len(rows), bool)
    begins[1:] = rows[1:] != rows[:-1]
    return begins
