"""A look at a training's speed soon after its start, when to begin it anew costs little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.pipeline.jobs import Process
from engine.training.curve import CURVE_FILE, read_curve

EARLY = 0.05  # share of the iterations after which the look comes
FEWEST_ROWS = 3  # of its curve
FEWEST_SECONDS = 5.0  # of training by then: shorter ones say little
TOLERANCE = 0.15  # difference from the trial up to which the training goes on
WORTH = 2.0  # times the seconds that a new beginning loses, which a faster training must gain
LEAST_LEFT = 0.25  # of a training that must be left after what a new beginning loses


class WatchedTraining:
    """The process of a training. Where its iterations take another time than trials said, it is begun anew, once.

    A slow one only where the steps after it cannot make up for it, and a fast one where that gains more than it loses.

    process: the training under way. folder: of its model. iterations: of the training. early: seconds of an iteration
    by the trials, with as many Gaussians as it has from its start on. slack: seconds by which it may be late. lost:
    tells the seconds since it was begun.
    again: begins the training of another length, once the first process has ended; it is told the factor by which
    iterations take longer.
    """

    def __init__(
        self,
        process: Process,
        folder: Path,
        *,
        iterations: int,
        early: float,
        slack: float,
        lost: Callable[[], float],
        again: Callable[[float], Process],
    ) -> None:
        self._process = process
        self._folder = folder
        self._iterations = iterations
        self._early = early
        self._slack = slack
        self._lost = lost
        self._again = again
        self._factor: float | None = None
        self._looked = False

    def poll(self) -> int | None:
        """The exit code; None while it runs, or is begun anew."""
        code = self._process.poll()
        if code is None and not self._looked:
            self._look()
        elif code is not None and self._factor is not None:
            self._process, self._factor = self._again(self._factor), None
            return None
        return code

    def interrupt(self) -> None:
        """Asks it to save and end."""
        self._factor, self._looked = None, True
        self._process.interrupt()

    def _look(self) -> None:
        known = seconds_an_iteration(self._folder, max(2, round(EARLY * self._iterations)))
        if known is None:
            return
        self._looked = True
        factor = known / self._early
        if abs(factor - 1) > TOLERANCE and self._is_worth_it(factor):
            self._factor = factor
            self._process.interrupt()

    def _is_worth_it(self, factor: float) -> bool:
        """True where a new beginning, which loses what was done so far, is better than going on."""
        told, lost = self._early * self._iterations, self._lost()
        late = (factor - 1) * told
        return late > self._slack and told - lost > LEAST_LEFT * told if late > 0 else -late > WORTH * lost


def seconds_an_iteration(folder: Path, least: int) -> float | None:
    """Seconds of an iteration by a training's curve, once it has so many; None before."""
    curves = (read_curve(path) for path in (folder / CURVE_FILE, *sorted(folder.glob(f"*/{CURVE_FILE}"))))
    rows = [row for row in next(filter(None, curves), []) if "seconds" in row]
    if len(rows) < FEWEST_ROWS or rows[-1]["iteration"] < least or rows[-1]["seconds"] < FEWEST_SECONDS:
        return None
    first, last = rows[0], rows[-1]  # what came before the first says nothing: kernels are loaded then
    return (last["seconds"] - first["seconds"]) / (last["iteration"] - first["iteration"])
