"""Progress of a training, with its smoothed PSNR and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.text.progress import Progress

SMOOTHING = 0.98  # of the PSNR shown: single images differ by many decibels


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Numbers of one iteration."""

    iteration: int  # counted from 1
    loss: float
    psnr: float  # of a training image before the update, dB
    gaussians: int | None = None  # None: their number does not change


class TrainingProgress(Progress):
    """Iterations done, smoothed training PSNR, loss, Gaussians and the time left; quiet shows nothing."""

    def __init__(self, name: str, *, total: int, start: int = 0, quiet: bool = False) -> None:
        super().__init__(name, total=total, unit="iteration", start=start, shown=not quiet)
        self.psnr: float | None = None

    def finish_step(self, readings: Sequence[Reading] = (), *, iterations: int = 1) -> None:
        """Count the iterations of a step; readings are of it or of earlier ones."""
        for reading in readings:
            self.psnr = reading.psnr if self.psnr is None else SMOOTHING * self.psnr + (1 - SMOOTHING) * reading.psnr
        self.advance(iterations, numbers=self._numbers_of(readings[-1]) if readings else None)

    def _numbers_of(self, reading: Reading) -> dict[str, str]:
        numbers = {"training PSNR": f"{self.psnr:.2f} dB", "loss": f"{reading.loss:.4f}"}
        return numbers if reading.gaussians is None else {**numbers, "Gaussians": f"{reading.gaussians:,}"}
