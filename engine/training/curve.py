"""The training curve of a router or an expert, `training.csv`: its loss, PSNR and learning rates as they were."""

from __future__ import annotations

import contextlib
import csv
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from common.disk.contained import not_followed
from common.disk.files import replacing
from engine.training.progress import Reading
from engine.training.tensorboard import EventWriter

CURVE_FILE = "training.csv"
COLUMNS = ("iteration", "loss", "psnr", "test_psnr", "gaussians", "seconds")
RATE = "lr_"  # begins the further columns: a learning rate each
_FORMATS = {"iteration": ".0f", "loss": ".6g", "gaussians": ".0f", "seconds": ".3f"}  # else 4 digits after the point

Row = Mapping[str, float]  # a number for each column that has one


class TrainingCurve:
    """The curve of a training, written as it goes; a training that is resumed goes on below its earlier lines.

    loss, psnr: means over the iterations since the line before, psnr in dB of training images. test_psnr: in dB, of
    held-out frames, where they were scored. seconds: of training so far, scoring and saving left out. every:
    iterations a line; None: a line for each reading. last: iteration that has a line in any case. events: the same
    numbers for TensorBoard.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        every: int | None = None,
        last: int | None = None,
        events: EventWriter | None = None,
    ) -> None:
        self._path = folder / CURVE_FILE
        self._start = start
        self._every = every
        self._last = last
        self._events = events
        self._columns: tuple[str, ...] = ()  # known with the first line
        self._waiting: list[Reading] = []

    def add(self, readings: Sequence[Reading], *, seconds: float, gaussians: int, rates: Mapping[str, float]) -> None:
        """Count readings of iterations in order. rates: the learning rates by name."""
        for reading in readings:
            self._waiting.append(reading)
            if self._every is None or reading.iteration % self._every == 0 or reading.iteration == self._last:
                self._append(self._row(seconds, gaussians, rates))

    def add_score(self, iteration: int, psnr: float) -> None:
        """Count a score of held-out frames; it joins the line of its iteration, where there is one."""
        row = {"iteration": float(iteration), "test_psnr": psnr}
        rows = self._kept(iteration)
        if rows and rows[-1]["iteration"] == iteration:
            self._write([*rows[:-1], {**rows[-1], **row}])
        else:
            self._append(row)
        self._tell(row)

    def is_scored(self, iteration: int) -> bool:
        """True where the file has a score of an iteration."""
        return any("test_psnr" in row and row["iteration"] == iteration for row in read_curve(self._path))

    def close(self) -> None:
        """Ends what is open; a later line opens it again."""
        if self._events is not None:
            self._events.close()

    def _row(self, seconds: float, gaussians: int, rates: Mapping[str, float]) -> dict[str, float]:
        numbers = {
            "iteration": float(self._waiting[-1].iteration),
            "loss": statistics.fmean(reading.loss for reading in self._waiting),
            "psnr": statistics.fmean(reading.psnr for reading in self._waiting),
            "gaussians": float(gaussians),
            **{f"{RATE}{name}": rate for name, rate in rates.items()},
        }
        self._waiting.clear()
        self._tell(numbers)
        return {**numbers, "seconds": seconds}

    def _tell(self, row: Row) -> None:
        if self._events is not None:
            self._events.add({name: value for name, value in row.items() if name != "iteration"}, row["iteration"])

    def _append(self, row: Row) -> None:
        if not self._columns or not set(row) <= set(self._columns):
            self._write([*self._kept(int(row["iteration"]) - 1), row])
            return
        with open(self._path, "a", encoding="utf-8", opener=not_followed) as file:
            file.write(f"{self._line(row)}\n")

    def _kept(self, last: int) -> list[dict[str, float]]:
        """The rows of the file up to an iteration, those of an earlier training or beyond its last save left out."""
        end = last if self._columns else min(last, self._start)
        return [row for row in read_curve(self._path) if row["iteration"] <= end]

    def _write(self, rows: Sequence[Row]) -> None:
        """Writes the heading and all rows anew."""
        names = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
        self._columns = tuple(names)
        with replacing(self._path) as temporary:
            lines = [",".join(self._columns), *map(self._line, rows)]
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _line(self, row: Row) -> str:
        return ",".join(_text(name, row[name]) if name in row else "" for name in self._columns)


def _text(column: str, value: float) -> str:
    return format(value, ".6g" if column.startswith(RATE) else _FORMATS.get(column, ".4f"))


def read_curve(path: Path) -> list[dict[str, float]]:
    """Read the rows of a training curve: the columns that have a number, `iteration` always among them.

    Lines that are no row are left out, and a file that is missing has none.
    """
    if not path.is_file():
        return []
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in _rows_of(file):
            try:
                numbers = {name: float(value) for name, value in row.items() if value != ""}
            except (TypeError, ValueError, OverflowError):  # a line that is cut off has cells of None
                continue
            if "iteration" in numbers:
                rows.append(numbers)
    return rows


def _rows_of(file: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Rows as text, up to a line that is none: what another program wrote ends the curve."""
    with contextlib.suppress(csv.Error, ValueError):
        yield from csv.DictReader(file)


def points_of(rows: Sequence[Row], column: str) -> list[tuple[float, float]]:
    """The (iteration, value) pairs of a column, rows without a number left out."""
    return [(row["iteration"], row[column]) for row in rows if column in row]


def rates_of(optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate of each group of an optimiser by the group's name."""
    return {str(group["name"]): float(group["lr"]) for group in optimiser.param_groups}
