"""The images of a training's next iterations, chosen before they are needed, so that they can be read meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from common import ranks
from common.ranks import RankError
from common.text.wording import counted
from experts.training.samplers import Sample, Sampler, samples_from_lists, samples_to_lists
from experts.training.saved_states import require_indices
from experts.training.stretches import StretchedSampler, Stretches
from experts.training.views import TrainingViews

AHEAD = 8  # iterations by which images are chosen early


class SamplesAhead:
    """Gives the images of iterations 1 ... `last`, and announces those of later ones to the views.

    Several ranks choose the same images, and each announces its share.
    """

    def __init__(self, sampler: Sampler, views: TrainingViews, *, last: int, name: str) -> None:
        self._order: Sampler = sampler  # another where a disk does not keep all frames
        self._views, self._last, self._name = views, last, name
        self._pending: deque[tuple[Sample, ...]] = deque()
        self._drawn = 0  # iterations whose images are chosen

    def next(self, iteration: int) -> tuple[Sample, ...]:
        """The iteration's images, of all ranks; RankError where there are fewer than ranks."""
        while self._drawn < min(iteration + AHEAD, self._last):
            self._drawn += 1
            self._pending.append(self._order.next(self._drawn))
            self._views.announce(ranks.share(self._pending[-1]))
        if len(self._pending[0]) < ranks.count():
            images = counted(len(self._pending[0]), "image")
            raise RankError(
                f"{self._name}: {counted(ranks.count(), 'rank')}, and an iteration has {images}: start fewer, or give "
                "--batch a larger number, up to that of the training cameras"
            )
        return self._pending.popleft()

    def skip_to(self, iteration: int) -> None:
        """Lets an iteration be the next, as if the images of those before it had been chosen: for trials of one."""
        self._drawn = iteration - 1
        self._pending.clear()

    def stay_within(self, stretches: Stretches, *, generator: torch.Generator) -> None:
        """Lets images of some frames follow each other, before the first iteration."""
        self._order = StretchedSampler(self._order, stretches, generator=generator)

    def state(self, *, again: Sequence[tuple[Sample, ...]]) -> dict[str, Any]:
        """The state from which `load` goes on; the generator is the trainer's to save.

        again: images of iterations that were begun and are still to come.
        """
        return {
            "sampler": self._order.state(),
            "pending": samples_to_lists([*again, *self._pending]),
            "drawn": self._drawn,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; ValueError where it is of other views."""
        self._order.load(state["sampler"])
        for view, frame in (pair for batch in state["pending"] for pair in batch):
            require_indices([view], len(self._views.cameras), "the list of the next images' cameras")
            require_indices([frame], self._views.num_frames, "the list of the next images' frames")
        self._pending = deque(samples_from_lists(state["pending"]))
        self._drawn = int(state["drawn"])
        for samples in self._pending:
            self._views.announce(ranks.share(samples))
