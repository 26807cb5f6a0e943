"""Pieces in chains are read as they were written, and values stay from piece to piece while they can."""

from __future__ import annotations

import numpy as np
import torch

from engine.export.following.steady import steady
from engine.export.pages.arrays import array_bytes, read_arrays
from engine.export.pages.chains import ONCE, SHARED, Pieces, chain_order, chained, steps_of, unchained

FINE = 0.05


def some_pieces(seed: int) -> tuple[Pieces, np.ndarray, object]:
    """Pieces of 50 Gaussians, some with gaps between them; a value in four changes."""
    draw = np.random.default_rng(seed)
    rows = np.repeat(np.arange(50), draw.integers(1, 6, 50))
    count = len(rows)
    lengths, gaps = draw.integers(0, 9, count), draw.integers(0, 2, count)
    spans = np.cumsum(lengths + 1 + gaps)
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    first = spans - lengths - spans[begins][rows] + lengths[begins][rows]
    places = draw.normal(size=(50, 3))[rows] + 0.1 * draw.normal(size=(count, 3))
    shuffled = draw.permutation(count)
    rows, first, lengths, places = rows[shuffled], first[shuffled], lengths[shuffled], places[shuffled]
    order, cells = chain_order(rows, first, places)
    starts = np.diff(rows[order], prepend=-1) != 0
    chain = np.cumsum(starts) - 1
    held = np.cumsum(starts | (draw.random(count) < 0.25))
    values = {name: (held * (bit + 3) % 97)[:, None] for bit, name in enumerate(SHARED)}
    values |= dict.fromkeys(ONCE, chain * 7 % 31)
    values["scales"] = np.repeat(values["scales"], 3, axis=1)
    moves = 0.1 * draw.normal(size=(count, 3))
    pieces = Pieces(
        starts=starts,
        places=places[order],
        moves=moves,
        first=first[order],
        last=(first + lengths)[order],
        values=values,
    )
    return pieces, -4 + values["scales"] / 97, cells


def test_pieces_are_read_as_they_were_written() -> None:
    known = [some_pieces(seed) for seed in range(2)]
    columns = [chained(pieces, logs, fine=FINE, cells=cells) for pieces, logs, cells in known]
    joined = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
    found = unchained(joined, [len(each["pieces"]) for each in columns])
    start = 0
    for pieces, logs, cells in known:
        part = {name: values[start : start + len(pieces.starts)] for name, values in found.items()}
        start += len(pieces.starts)
        assert (part["first"] == pieces.first).all() and (part["last"] == pieces.last).all()
        assert all((part[name] == pieces.values[name]).all() for name in (*SHARED, *ONCE))
        assert (np.diff(part["chain"]) == pieces.starts[1:]).all()
        heads = np.flatnonzero(pieces.starts)[np.cumsum(pieces.starts) - 1]
        steps = steps_of(logs[heads], FINE, cells)[:, None]
        places = cells.corner + part["corners"] * cells.size + part["places"] * steps
        moving = (pieces.last > pieces.first)[:, None]
        assert (np.abs(places - pieces.places) <= 0.501 * steps).all()
        assert (np.abs(part["moves"] * steps - pieces.moves * moving) <= 0.501 * steps).all()


def test_what_flies_away_has_32_bits() -> None:
    pieces, logs, cells = some_pieces(4)
    pieces.places[3:9] *= 1e12
    pieces.moves[3:9] *= -1e12
    columns = chained(pieces, logs, fine=FINE, cells=cells)
    table, body = array_bytes({name: columns[name] for name in ("cells", "begins", "hops", "bends")})
    assert max(int(row["type"][1]) for row in table) == 4
    assert all((values == columns[name]).all() for name, values in read_arrays(table, body).items())


def test_what_stays_is_told_once() -> None:
    pieces, logs, cells = some_pieces(3)
    columns = chained(pieces, logs, fine=FINE, cells=cells)
    assert len(columns["routing"]) == 50 and len(columns["scales"]) < 0.7 * len(pieces.starts)


def test_values_change_as_seldom_as_their_ranges_allow() -> None:
    rows = torch.tensor([4, 1, 4, 4, 1])
    low = torch.tensor([[0.0, 0.0], [5.0, 5.0], [1.0, 3.0], [2.5, 3.0], [5.5, 6.5]])
    found = steady(low.clone(), low + torch.tensor([2.0, 1.0]), rows, groups=(1, 1))
    assert found[:, 0].tolist() == [1.5, 6.25, 1.5, 3.5, 6.25]
    assert found[:, 1].tolist() == [0.5, 5.5, 3.5, 3.5, 7.0]
