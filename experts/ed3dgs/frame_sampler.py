"""E-D3DGS's choice of images: frames that went wrong come more often (Bae et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from experts.training.samplers import Sample
from experts.training.saved_states import require_like

FIRST_ERROR = 100.0  # of images not seen yet
_READ_EVERY = 50  # iterations between readings of the errors: reading them waits for the GPU


class FrameErrors:
    """Random cameras; frames by chance, later in every second iteration by their errors.

    errors_from: iteration from which on even iterations draw a frame with a chance that grows with its error: the last
    L1 of its images, summed over the cameras, less the best frame's. in_streak: whether an iteration hands its frame
    on to the next. batch: images an iteration. positions: the cameras' [views, 3], where each shall be far from the
    one before; None for any camera.
    """

    def __init__(
        self,
        *,
        views: int,
        frames: int,
        generator: torch.Generator,
        errors_from: int,
        in_streak: Callable[[int], bool],
        batch: int = 1,
        positions: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.errors = torch.full((views, frames), FIRST_ERROR, device=device)
        self._errors_from, self._in_streak, self._batch = errors_from, in_streak, batch
        self._generator = generator
        self._allowed = [list(range(views))] * views if positions is None else far_cameras(positions)
        self._view, self._frame = 0, -1
        self._chances: Tensor | None = None  # [frames] on the CPU, as last read

    def next(self, iteration: int) -> tuple[Sample, ...]:
        """The iteration's images."""
        keep = self._frame >= 0 and self._in_streak(iteration - 1)
        return tuple(self._one(iteration, keep) for _ in range(self._batch))

    def _one(self, iteration: int, keep: bool) -> Sample:
        if not keep:
            self._frame = self._drawn_frame(iteration)
        allowed = self._allowed[self._view]
        self._view = allowed[int(torch.randint(len(allowed), (1,), generator=self._generator))]
        return Sample(view=self._view, frame=self._frame)

    def record(self, sample: Sample, error: Tensor) -> None:
        """An image's L1, a scalar on the device of the errors; does not wait for it."""
        self.errors[sample.view, sample.frame] = error

    def _drawn_frame(self, iteration: int) -> int:
        if iteration < self._errors_from or iteration % 2:
            return int(torch.randint(self.errors.shape[1], (1,), generator=self._generator))
        if self._chances is None or iteration % _READ_EVERY == 0:
            self._chances = chances(self.errors)
        return int(torch.multinomial(self._chances, 1, generator=self._generator))

    def state(self) -> dict[str, Any]:
        """Errors, what was last read of them, and the image before; the generator is the trainer's."""
        read = self.errors.new_zeros(0) if self._chances is None else self._chances
        return {"errors": self.errors.clone(), "chances": read, "view": self._view, "frame": self._frame}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; raises ValueError where it is of another clip."""
        errors: Tensor = state["errors"]
        if errors.shape != self.errors.shape:
            saved, own = tuple(errors.shape), tuple(self.errors.shape)
            raise ValueError(
                f"errors of {saved} cameras and frames were saved, this clip has {own}; resume with its own"
            )
        require_like(errors, self.errors, "the errors of frames")
        self.errors.copy_(errors)
        read: Tensor = state["chances"]
        if read.numel():
            require_like(read, self.errors[0], "the chances of frames")
        self._chances = read.cpu() if read.numel() else None
        self._view, self._frame = int(state["view"]), int(state["frame"])


def chances(errors: Tensor) -> Tensor:
    """Chances [frames], unscaled, on the CPU: sums of errors [views, frames] over the cameras, less the smallest.

    All the same where no frame is worse than another.
    """
    sums = errors.sum(0).cpu()
    above = sums - sums.min()
    return above if bool(above.max() > 0) else torch.ones_like(above)


def far_cameras(positions: Tensor) -> list[list[int]]:
    """For each camera those at least the median of the distances between two of positions [views, 3] away.

    All cameras for one that has none so far away.
    """
    distances = torch.cdist(positions.double(), positions.double())
    count = len(positions)
    pairs = distances[torch.triu_indices(count, count, offset=1).unbind()]
    if pairs.numel() == 0:
        return [list(range(count))]
    far = distances >= pairs.median()
    far.fill_diagonal_(False)
    return [row.nonzero()[:, 0].tolist() or list(range(count)) for row in far]
