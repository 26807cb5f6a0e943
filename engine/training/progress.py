"""Progress of a training: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from tqdm import tqdm

logger = logging.getLogger(__name__)

SHOW_EVERY = 10  # iterations between updates of the bar's numbers
SMOOTHING = 0.98  # of the PSNR shown: single images differ by many decibels
LINE_EVERY = 30.0  # seconds between lines where there is no terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Numbers of one iteration."""

    iteration: int  # counted from 1
    loss: float
    psnr: float  # of a training image before the update, dB
    gaussians: int | None = None  # None: their number does not change


class Progress:
    """Iterations done, smoothed training PSNR, loss, Gaussians and the time left; a context manager.

    Where standard error is no terminal, a line goes to the log every LINE_EVERY seconds; quiet shows nothing.
    """

    def __init__(self, name: str, *, total: int, start: int = 0, quiet: bool = False) -> None:
        self.psnr: float | None = None
        self._name, self._total, self._done, self._first = name, total, start, start
        terminal = sys.stderr.isatty()
        self._lines = not quiet and not terminal
        hidden = quiet or not terminal or start >= total
        self._bar = tqdm(total=total, initial=start, desc=name, disable=hidden, mininterval=0.5)
        self._begun = self._last = time.monotonic()
        self._shown: dict[str, object] = {}

    def advance(self, iteration: int, readings: Sequence[Reading] = ()) -> None:
        """An iteration is done, and numbers of it or of earlier ones are known."""
        for reading in readings:
            self._take_in(reading)
        self._done = iteration
        self._bar.update()
        now = time.monotonic()
        if self._lines and now - self._last >= LINE_EVERY:
            self._last = now
            logger.info("%s", self._line(now))

    def _take_in(self, reading: Reading) -> None:
        self.psnr = reading.psnr if self.psnr is None else SMOOTHING * self.psnr + (1 - SMOOTHING) * reading.psnr
        self._shown = {"PSNR": f"{self.psnr:.2f}", "loss": f"{reading.loss:.4f}"}
        if reading.gaussians is not None:
            self._shown["Gaussians"] = reading.gaussians
        if reading.iteration % SHOW_EVERY == 0:
            self._bar.set_postfix(self._shown, refresh=False)

    def _line(self, now: float) -> str:
        numbers = "".join(f", {name} {value}" for name, value in self._shown.items())
        left = (now - self._begun) / max(1, self._done - self._first) * (self._total - self._done)
        return f"{self._name}: iteration {self._done} of {self._total}{numbers}, {duration(left)} left"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()


def duration(seconds: float) -> str:
    """A time for people: "50 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
