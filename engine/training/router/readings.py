"""The numbers of a router's training that a GPU has not told yet, read together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from common.collectives import mean_over_ranks
from engine.errors import ConfigError
from engine.runs.device import ComputeDevice, wait
from engine.training.progress import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unread:
    """Numbers of an image that nobody has waited for yet."""

    iteration: int
    image: str  # "cam03, frame 7"
    loss: Tensor
    error: Tensor  # mean squared


class UnreadNumbers:
    """Losses and errors of images, in the order of training: fetching them waits until the device has caught up."""

    def __init__(self, compute: ComputeDevice) -> None:
        self._compute = compute
        self._unread: list[_Unread] = []

    @property
    def count(self) -> int:
        """Images whose numbers were not read."""
        return len(self._unread)

    def add(self, iteration: int, image: str, *, loss: Tensor, error: Tensor) -> None:
        """Notes the numbers of an image ("cam03, frame 7"). error: mean squared."""
        self._unread.append(_Unread(iteration=iteration, image=image, loss=loss, error=error))

    def read(self) -> tuple[Reading, ...]:
        """The numbers nobody has waited for yet, in one transfer; ConfigError naming the first loss not finite.

        Means over the images of a step, of all ranks.
        """
        wait(self._compute)
        numbers = torch.stack([number for unread in self._unread for number in (unread.loss, unread.error)]).tolist()
        steps: dict[int, list[tuple[float, float]]] = {}
        for unread, loss, error in zip(self._unread, numbers[::2], numbers[1::2], strict=True):
            if not math.isfinite(loss):
                raise ConfigError(
                    f"the loss is {loss} at iteration {unread.iteration} ({unread.image}): lower the learning rates, "
                    "or find the cause with --detect_anomaly"
                )
            steps.setdefault(unread.iteration, []).append((loss, -10 * math.log10(max(error, 1e-12))))
        self._unread.clear()
        own = [fmean(values) for images in steps.values() for values in zip(*images, strict=True)]
        means = mean_over_ranks(own)
        return tuple(
            Reading(iteration=iteration, loss=loss, psnr=psnr)
            for iteration, loss, psnr in zip(steps, means[::2], means[1::2], strict=True)
        )
