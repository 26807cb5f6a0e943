"""Which pictures an iteration looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A training picture."""

    view: int  # index into Footage.cameras
    frame: int  # 0 is the clip's first


class Sampler(Protocol):
    """Gives the pictures of one iteration after another; the same from the same generator and state."""

    def next(self, iteration: int) -> tuple[Shot, ...]: ...

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and lists from which `load` goes on; the generator is the course's to save."""
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

    def next(self, iteration: int) -> tuple[Shot, ...]:
        """The next pictures of the pass."""
        return tuple(self._one() for _ in range(self._batch))

    def _one(self) -> Shot:
        if not self._left:
            self._left = torch.randperm(self._views * self.frames, generator=self._generator).tolist()
            self.passes += 1
        frame, view = divmod(self._left.pop(), self._views)
        return Shot(view=view, frame=self._start + frame)

    def state(self) -> dict[str, Any]:
        """What of the pass is left."""
        return {"frames": self.frames, "passes": self.passes, "left": torch.tensor(self._left, dtype=torch.int64)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on with a saved pass."""
        self.frames, self.passes = int(state["frames"]), int(state["passes"])
        left: Tensor = state["left"]
        self._left = left.tolist()


class SameMoment:
    """Different cameras at one random frame (STG)."""

    def __init__(self, *, views: int, frames: int, generator: torch.Generator, batch: int = 2, start: int = 0) -> None:
        self._views, self._frames, self._start = views, frames, start
        self._batch = min(batch, views)
        self._generator = generator

    def next(self, iteration: int) -> tuple[Shot, ...]:
        """As many cameras as the batch has, or as there are."""
        frame = self._start + int(torch.randint(self._frames, (1,), generator=self._generator))
        views = torch.randperm(self._views, generator=self._generator)[: self._batch]
        return tuple(Shot(view=view, frame=frame) for view in views.tolist())

    def state(self) -> dict[str, Any]:
        """Nothing but the generator's."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing to take over."""


def shots_to_lists(batches: Sequence[tuple[Shot, ...]]) -> list[list[list[int]]]:
    """Pictures as plain numbers, for a checkpoint."""
    return [[[shot.view, shot.frame] for shot in batch] for batch in batches]


def shots_from_lists(batches: Sequence[Sequence[Sequence[int]]]) -> list[tuple[Shot, ...]]:
    """The inverse of `shots_to_lists`."""
    return [tuple(Shot(view=view, frame=frame) for view, frame in batch) for batch in batches]
