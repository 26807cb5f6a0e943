"""The training curve of a router, `training.csv`: the loss of its training, a line each EVERY iterations."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from common.files import replacing
from engine.training.progress import Reading

CURVE_FILE = "training.csv"
EVERY = 10  # iterations a line
COLUMNS = ("iteration", "loss", "psnr", "seconds")


class TrainingCurve:
    """The curve of a training, written as it goes; a training that is resumed goes on below its earlier lines.

    loss, psnr: means over the iterations since the line before, psnr in dB of training images. seconds: of training
    so far, scoring and saving left out.
    """

    def __init__(self, save_path: Path, *, start: int) -> None:
        self._path = save_path / CURVE_FILE
        self._start = start
        self._begun = False
        self._waiting: list[Reading] = []

    def add(self, readings: Sequence[Reading], *, seconds: float) -> None:
        """Count readings of iterations in order; a line is written at each multiple of EVERY."""
        for reading in readings:
            self._waiting.append(reading)
            if reading.iteration % EVERY == 0:
                self._write(seconds)

    def _write(self, seconds: float) -> None:
        if not self._begun:
            self._begin()
        loss = statistics.fmean(reading.loss for reading in self._waiting)
        psnr = statistics.fmean(reading.psnr for reading in self._waiting)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{self._waiting[-1].iteration},{loss:.6g},{psnr:.4f},{seconds:.3f}\n")
        self._waiting.clear()

    def _begin(self) -> None:
        """Writes the heading, and the lines of an earlier part of this training."""
        earlier = [row for row in read_curve(self._path) if row["iteration"] <= self._start] if self._start else []
        lines = [",".join(COLUMNS), *(",".join(f"{row[name]:.10g}" for name in COLUMNS) for row in earlier)]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._begun = True


def read_curve(path: Path) -> list[dict[str, float]]:
    """Read the rows of a training curve; lines that are no row are left out, and a file that is missing has none."""
    if not path.is_file():
        return []
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                rows.append({name: float(row[name]) for name in COLUMNS})
            except (KeyError, TypeError, ValueError):
                continue
    return rows
