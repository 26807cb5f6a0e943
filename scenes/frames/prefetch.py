"""Frames read ahead of their use, in an order that is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

import torch
from torch import Tensor

from scenes.frames.read_ahead import ReadAhead
from scenes.types import Scene, ViewFrame

Item = tuple[int, int, Tensor]


class Prefetcher:
    """Iterator of (view, frame, image) in the given order; worker threads read ahead of the caller.

    Images and memory are those of `ReadAhead`. An error of a read, or of the order itself, is raised when its turn
    comes. Use as a context manager, or close(): the order may be endless.
    """

    def __init__(
        self,
        scene: Scene,
        order: Iterable[tuple[int, int]],
        *,
        device: torch.device | None = None,  # None: the CPU
        memory_mb: int | None = None,
        workers: int | None = None,
    ) -> None:
        self._images = ReadAhead(scene, device=device, memory_mb=memory_mb, workers=workers)
        self._order = iter(order)
        self._queue: deque[ViewFrame | Exception] = deque()
        self._more = True
        self._closed = False

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._closed:
            raise ValueError("the prefetcher is closed: make a new one")
        self._fill()
        if not self._queue:
            raise StopIteration
        view_frame = self._queue.popleft()
        if isinstance(view_frame, Exception):
            raise view_frame
        image = self._images.image(view_frame)
        self._fill()
        return *view_frame, image

    def close(self) -> None:
        """Stop the threads and drop what was read; may be called twice."""
        self._closed = True
        self._queue.clear()
        self._images.close()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self) -> None:
        while self._more and len(self._queue) < self._images.slots:
            try:
                view_frame = next(self._order)
            except StopIteration:
                self._more = False
            except Exception as error:
                self._more = False
                self._queue.append(error)
            else:
                self._queue.append(view_frame)
                self._images.announce([view_frame])
