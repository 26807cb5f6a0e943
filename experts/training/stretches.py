"""The order of images where a disk does not keep all frames: those of some frames follow each other.

Where `--cache_gb` keeps all frames of a training, nothing here is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch

from experts.training.samplers import Sample, Sampler, samples_from_lists, samples_to_lists

VISIT = 500  # images of a training before it goes on to other frames, about
_BLOCK_STRIDE = 7_368_787  # keeps the seeds of different trainings' blocks apart

Image = TypeVar("Image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """Chunks of a clip's frames, and how many of them are in use at once.

    Images are drawn as ever, in blocks; a block's are put in the order of groups of chunks, which are others in every
    block. So a block has the images that it would have had, and a chunk is decoded once a block.
    """

    length: int  # frame f is in chunk (f + offset) // length
    offset: int
    frames: int  # of the clip
    at_once: int  # chunks of a group

    @property
    def chunks(self) -> int:
        """Chunks that the clip's frames are in."""
        return (self.offset + self.frames - 1) // self.length + 1

    @property
    def block(self) -> int:
        """Images of a block."""
        return VISIT * -(-self.chunks // self.at_once)

    def ordered(
        self, images: Sequence[Image], frame_of: Callable[[Image], int], generator: torch.Generator
    ) -> list[Image]:
        """A block's images by random groups of chunks; those of a group stay in the order in which they were drawn."""
        places = torch.randperm(self.chunks, generator=generator).tolist()
        return sorted(images, key=lambda one: places[(frame_of(one) + self.offset) // self.length] // self.at_once)


def in_stretches(
    order_from: Callable[[int], Iterator[Image]],
    stretches: Stretches | None,
    frame_of: Callable[[Image], int],
    *,
    seed: int,
    start: int = 0,
) -> Iterator[Image]:
    """An endless order of images by stretches, image number `start` first; as it is where there are none.

    order_from: the order from an image's number on. A block's order follows from the seed and its number alone.
    """
    if stretches is None:
        yield from order_from(start)
        return
    block, done = divmod(start, stretches.block)
    images = order_from(block * stretches.block)
    while drawn := list(islice(images, stretches.block)):
        generator = torch.Generator().manual_seed(seed * _BLOCK_STRIDE + block)
        yield from stretches.ordered(drawn, frame_of, generator)[done:]
        block, done = block + 1, 0


class StretchedSampler:
    """A sampler's images by stretches. A block is drawn at its beginning, at one iteration after another."""

    def __init__(self, sampler: Sampler, stretches: Stretches, *, generator: torch.Generator) -> None:
        self._sampler, self._stretches, self._generator = sampler, stretches, generator
        self._left: deque[tuple[Sample, ...]] = deque()

    def next(self, iteration: int) -> tuple[Sample, ...]:
        """The images of an iteration: as many as the sampler gives it."""
        if not self._left:
            self._left.extend(self._block(iteration))
        return self._left.popleft()

    def _block(self, iteration: int) -> Iterator[tuple[Sample, ...]]:
        first = self._sampler.next(iteration)
        iterations = max(1, self._stretches.block // len(first))
        drawn = [first, *(self._sampler.next(iteration + later) for later in range(1, iterations))]
        samples = self._stretches.ordered(
            [sample for batch in drawn for sample in batch], lambda sample: sample.frame, self._generator
        )
        rest = iter(samples)
        return (tuple(islice(rest, len(batch))) for batch in drawn)

    def state(self) -> dict[str, Any]:
        """The sampler's state, and the images of the block that are left."""
        return {"sampler": self._sampler.state(), "left": samples_to_lists(list(self._left))}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self._sampler.load(state["sampler"])
        self._left = deque(samples_from_lists(state["left"]))
