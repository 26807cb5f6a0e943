from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera

from scenes import FrameStore, Prefetcher, Scene, View
from scenes.frames.read_ahead import ReadAhead

WIDTH, HEIGHT = 64, 64
IMAGE_BYTES = 3 * 4 * WIDTH * HEIGHT


class Store(FrameStore):
    """Frames whose pixels tell view and frame; counts reads and can fail or be slow."""

    def __init__(self, *, bad: tuple[int, int] | None = None) -> None:
        self.bad = bad
        self.reads = 0
        self.lock = threading.Lock()

    def read(self, view: int, frame: int) -> np.ndarray:
        with self.lock:
            self.reads += 1
        time.sleep(0.003 * (frame % 3))
        if (view, frame) == self.bad:
            raise OSError("disk unplugged")
        image = np.full((HEIGHT, WIDTH, 3), (view, frame, 255), np.uint8)
        image[0, 1] = (7, 8, 9)
        return image


def scene_of(store: Store, memory_mb: int = 512) -> Scene:
    camera = Camera(world_to_camera=torch.eye(4), fx=50, fy=50, cx=32, cy=32, width=WIDTH, height=HEIGHT)
    views = tuple(View(name=f"cam{i:02d}", number=i, camera=camera) for i in range(3))
    return Scene(
        name="room",
        layout="n3v",
        root=Path("room"),
        views=views,
        train=(1, 2),
        test=(0,),
        start=0,
        num_frames=50,
        footage_frames=50,
        frames=store,
        rig_radius=1.0,
        notes=(),
        memory_mb=memory_mb,
    )


def wait_for_reads(images: ReadAhead) -> None:
    """Until the only worker has done all that it was given."""
    images._pool.submit(int).result()


@pytest.mark.parametrize("workers", [1, 4])
def test_images_come_in_order(workers):
    order = [(view, frame) for frame in (5, 0, 7, 3, 2) for view in (2, 0, 1)]
    with Prefetcher(scene_of(Store()), order, memory_mb=1, workers=workers) as images:
        items = list(images)
    assert [(view, frame) for view, frame, _ in items] == order
    for view, frame, image in items:
        assert image.shape == (3, HEIGHT, WIDTH) and image.dtype == torch.float32 and image.is_contiguous()
        assert torch.equal(image[:, 5, 5], torch.tensor([view, frame, 255]) / 255)
        assert torch.equal(image[:, 0, 1], torch.tensor([7, 8, 9]) / 255)


@pytest.mark.parametrize(("memory_mb", "budget"), [(1, 1), (2, 2), (0, 0), (None, 3)])
def test_read_ahead_is_bounded(memory_mb, budget):
    expected = max(1, budget * 2**20 // IMAGE_BYTES)
    store = Store()
    endless = ((1, number % 50) for number in itertools.count())
    with Prefetcher(scene_of(store, memory_mb=3), endless, memory_mb=memory_mb, workers=1) as images:
        for taken in range(1, 4):
            next(images)
            wait_for_reads(images._images)
            assert store.reads == taken + expected


def test_an_error_comes_when_its_turn_comes():
    order = [(0, 0), (1, 1), (1, 2), (2, 0)]
    with Prefetcher(scene_of(Store(bad=(1, 2))), order, memory_mb=1) as images:
        assert next(images)[:2] == (0, 0)
        assert next(images)[:2] == (1, 1)
        with pytest.raises(OSError, match="disk unplugged"):
            next(images)


def test_an_error_of_the_order_comes_after_the_images_before_it():
    def order():
        yield 0, 0
        yield 1, 1
        raise RuntimeError("sampler broke")

    with Prefetcher(scene_of(Store()), order(), memory_mb=1) as images:
        assert [next(images)[:2], next(images)[:2]] == [(0, 0), (1, 1)]
        with pytest.raises(RuntimeError, match="sampler broke"):
            next(images)
        with pytest.raises(StopIteration):
            next(images)


def test_closing_ends_the_threads_before_the_order_ends():
    before = set(threading.enumerate())
    images = Prefetcher(scene_of(Store()), itertools.repeat((1, 2)), memory_mb=1, workers=3)
    next(images)
    workers = set(threading.enumerate()) - before
    assert 0 < len(workers) <= 3
    images.close()
    images.close()
    assert not any(worker.is_alive() for worker in workers)
    with pytest.raises(ValueError, match="the prefetcher is closed"):
        next(images)


def test_no_worker_is_refused():
    with pytest.raises(ValueError, match="workers is 0"):
        Prefetcher(scene_of(Store()), [], memory_mb=1, workers=0)


@pytest.mark.cuda
def test_frames_read_ahead_for_a_gpu_are_those_of_the_cpu():
    scene = scene_of(Store())
    order = [(view, frame) for frame in range(4) for view in range(3)] * 3
    with Prefetcher(scene, order) as here, Prefetcher(scene, order, device=torch.device("cuda")) as there:
        for expected, found in zip(here, there, strict=True):
            assert found[:2] == expected[:2]
            assert found[2].is_cuda and found[2].is_contiguous()
            assert (found[2].cpu() - expected[2]).abs().max() <= 6e-8  # a GPU multiplies by 1 / 255: the last bit
