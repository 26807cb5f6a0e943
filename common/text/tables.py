"""Tables as lines of aligned text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table, as wide as its heading and its longest cell, and never narrower than `width`."""

    heading: str = ""
    width: int = 0  # characters
    gap: int = 1  # spaces between this column and the one before it; those before the first column indent the table
    left: bool = False  # cells begin at the column's left edge; else they end at its right edge


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table as lines, the headings first where any column has one; no line ends in spaces.

    A row may be shorter than the list of columns: the cells that it lacks stay empty. Raises ValueError for a longer
    one.
    """
    headings = [column.heading for column in columns]
    cells = [*([headings] if any(headings) else []), *rows]
    for row in cells:
        if len(row) > len(columns):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(columns)} columns: {', '.join(row)}")
    widths = [
        max(column.width, *(len(row[index]) for row in cells if index < len(row)), 0)
        for index, column in enumerate(columns)
    ]
    return ["".join(map(_padded, columns, widths, row)).rstrip() for row in cells]


def _padded(column: Column, width: int, cell: str) -> str:
    return " " * column.gap + (cell.ljust(width) if column.left else cell.rjust(width))
