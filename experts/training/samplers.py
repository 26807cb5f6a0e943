"""The order in which a training looks at its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from experts.training.saved_states import require_indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A training image."""

    view: int  # index into TrainingViews.cameras
    frame: int  # 0 is the clip's first


class Sampler(Protocol):
    """Gives the images of one iteration after another; the same from the same generator and state."""

    def next(self, iteration: int) -> tuple[Sample, ...]: ...

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and lists from which `load` goes on; the generator is the trainer's to save."""
        ...

    def load(self, state: Mapping[str, Any]) -> None: ...


class ShuffledPass:
    """Every (view, frame) once in random order before any comes again; `frames` may grow and counts from the next pass.

    frames: how many, from the first of `start` on.
    """

    def __init__(self, *, views: int, frames: int, generator: torch.Generator, batch: int = 1, start: int = 0) -> None:
        self.frames = frames
        self.passes = 0  # begun so far
        self._views, self._batch, self._start = views, batch, start
        self._generator = generator
        self._left: list[int] = []

    def next(self, iteration: int) -> tuple[Sample, ...]:
        """The next images of the pass."""
        return tuple(self._one() for _ in range(self._batch))

    def _one(self) -> Sample:
        if not self._left:
            self._left = torch.randperm(self._views * self.frames, generator=self._generator).tolist()
            self.passes += 1
        frame, view = divmod(self._left.pop(), self._views)
        return Sample(view=view, frame=self._start + frame)

    def state(self) -> dict[str, Any]:
        """The images of the pass that are left."""
        return {"frames": self.frames, "passes": self.passes, "left": torch.tensor(self._left, dtype=torch.int64)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on with a saved pass."""
        self.frames, self.passes = int(state["frames"]), int(state["passes"])
        left: torch.Tensor = state["left"]
        require_indices(left, self._views * self.frames, "the list of a pass's images")
        self._left = left.tolist()


class SameMoment:
    """Different cameras at one random frame (STG)."""

    def __init__(self, *, views: int, frames: int, generator: torch.Generator, batch: int = 2, start: int = 0) -> None:
        self._views, self._frames, self._start = views, frames, start
        self._batch = min(batch, views)
        self._generator = generator

    def next(self, iteration: int) -> tuple[Sample, ...]:
        """As many cameras as the batch has, or as there are."""
        frame = self._start + int(torch.randint(self._frames, (1,), generator=self._generator))
        views = torch.randperm(self._views, generator=self._generator)[: self._batch]
        return tuple(Sample(view=view, frame=frame) for view in views.tolist())

    def state(self) -> dict[str, Any]:
        """Nothing but the generator's."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing to take over."""


def samples_to_lists(batches: Sequence[tuple[Sample, ...]]) -> list[list[list[int]]]:
    """Images as plain numbers, for a checkpoint."""
    return [[[sample.view, sample.frame] for sample in batch] for batch in batches]


def samples_from_lists(batches: Sequence[Sequence[Sequence[int]]]) -> list[tuple[Sample, ...]]:
    """The inverse of `samples_to_lists`."""
    return [tuple(Sample(view=view, frame=frame) for view, frame in batch) for batch in batches]
