"""Images of a scene, read by threads before they are asked for."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from common.cores import usable_cores
from common.maths.tensors import image_from_uint8
from common.text.units import MEBIBYTE
from scenes.types import Scene, ViewFrame


class ReadAhead:
    """Images by view and frame: `announce` them in the order in which they will be asked for; `image` hands one over.

    Images are float32 [3, h, w] in [0, 1] on `device`, the caller's own. At most `memory_mb` MiB of images (and at
    least one) are read but not yet handed over, however long the clip and the announced order are; None: what the
    scene was loaded with. workers: threads; None: 2, or as many as cores where reading may decode. Use as a context
    manager, or close().
    """

    def __init__(
        self,
        scene: Scene,
        *,
        device: torch.device | None = None,
        memory_mb: int | None = None,
        workers: int | None = None,
    ) -> None:
        if workers is None:
            workers = 2 if scene.frames.chunks() is None else max(2, usable_cores())
        if workers < 1:
            raise ValueError(f"workers is {workers}: give at least 1")
        self._gpu = device if device is not None and device.type == "cuda" else None
        self._scene = scene
        self.slots = slots_of(scene, gpu=self._gpu is not None, memory_mb=memory_mb)
        self._waiting: deque[ViewFrame] = deque()
        self._reading: dict[ViewFrame, deque[Future[Tensor]]] = defaultdict(deque)
        self._taken = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")

    def announce(self, view_frames: Iterable[ViewFrame]) -> None:
        """Take note of what will be asked for, after what was announced before."""
        self._waiting.extend(view_frames)
        self._fill()

    def image(self, view_frame: ViewFrame) -> Tensor:
        """Give the image of a view at a frame; raises what reading it raised. One not announced is read now."""
        if view_frame not in self._reading and view_frame in self._waiting:
            self._waiting.remove(view_frame)
        if view_frame in self._reading:
            pixels = self._take(view_frame).result()
        else:
            pixels = self._read(view_frame)
        self._fill()
        if self._gpu is not None:  # pinned memory: the copy is asked for here, nobody waits for it
            return image_from_uint8(pixels.to(self._gpu, non_blocking=True))
        return pixels

    def close(self) -> None:
        """Stop the threads and drop what was read; may be called twice."""
        self._waiting.clear()
        self._reading.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, view_frame: ViewFrame) -> Future[Tensor]:
        futures = self._reading[view_frame]
        future = futures.popleft()
        self._taken -= 1
        if not futures:
            del self._reading[view_frame]
        return future

    def _fill(self) -> None:
        while self._waiting and self._taken < self.slots:
            view_frame = self._waiting.popleft()
            self._reading[view_frame].append(self._pool.submit(self._read, view_frame))
            self._taken += 1

    def _read(self, view_frame: ViewFrame) -> Tensor:
        pixels = torch.tensor(self._scene.frames.read(*view_frame))  # a copy: PyTorch warns of sharing read-only arrays
        return image_from_uint8(pixels) if self._gpu is None else pixels.pin_memory()


def slots_of(scene: Scene, *, gpu: bool, memory_mb: int | None = None) -> int:
    """Count the images of a scene that `memory_mb` MiB hold while they wait, at least 1.

    What waits for a GPU waits as it was read, in 8 bits a value, otherwise in 32. None: what the scene was loaded with.
    """
    budget = (scene.memory_mb if memory_mb is None else memory_mb) * MEBIBYTE
    largest = max(view.camera.height * view.camera.width for view in scene.views)
    return max(1, budget // (3 * (1 if gpu else 4) * largest))
