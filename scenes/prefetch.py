"""Frames read ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from .types import Scene

MEBIBYTE = 2**20

Item = tuple[int, int, Tensor]


class Prefetcher:
    """Iterator of (view, frame, image) in the given order; worker threads read ahead of the caller.

    Images are float32 [3, h, w] in [0, 1] on `device`, the caller's own. At most `memory_mb` MiB of images (and at
    least one) are read but not yet handed over; None: what the scene was loaded with. An error of a read, or of the
    order itself, is raised when its turn comes. Use as a context manager, or close(): the order may be endless.
    """

    def __init__(
        self,
        scene: Scene,
        order: Iterable[tuple[int, int]],
        *,
        device: torch.device | None = None,  # None: the CPU
        memory_mb: int | None = None,
        workers: int = 2,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}: give at least 1")
        budget = (scene.memory_mb if memory_mb is None else memory_mb) * MEBIBYTE
        self._gpu = device if device is not None and device.type == "cuda" else None
        value_bytes = 1 if self._gpu else 4  # what waits for a GPU waits as it was read, uint8
        largest = max(3 * value_bytes * view.camera.height * view.camera.width for view in scene.views)
        self._scene = scene
        self._order = iter(order)
        self._slots = max(1, budget // largest)
        self._queue: deque[Future[Item]] = deque()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
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
        view, frame, image = self._queue.popleft().result()
        self._fill()
        if self._gpu is not None:  # pinned memory: the copy is asked for here, nobody waits for it
            image = _image(image.to(self._gpu, non_blocking=True))
        return view, frame, image

    def close(self) -> None:
        """Stop the threads and drop what was read; may be called twice."""
        self._closed = True
        self._queue.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self) -> None:
        while self._more and len(self._queue) < self._slots:
            try:
                view, frame = next(self._order)
            except StopIteration:
                self._more = False
            except Exception as error:
                self._more = False
                failed: Future[Item] = Future()
                failed.set_exception(error)
                self._queue.append(failed)
            else:
                self._queue.append(self._pool.submit(self._read, view, frame))

    def _read(self, view: int, frame: int) -> Item:
        pixels = torch.from_numpy(self._scene.frames.read(view, frame))
        return view, frame, _image(pixels) if self._gpu is None else pixels.pin_memory()


def _image(pixels: Tensor) -> Tensor:
    """float32 [3, h, w] in [0, 1] of uint8 [h, w, 3]."""
    return pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
