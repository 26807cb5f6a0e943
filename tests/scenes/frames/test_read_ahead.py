from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from scenes.frames.read_ahead import ReadAhead
from tests.scenes.frames.test_prefetch import Store, scene_of, wait_for_reads


def test_announced_and_other_images_come_as_they_are_asked_for():
    with ReadAhead(scene_of(Store()), memory_mb=1) as images:
        images.announce([(1, 2), (1, 3), (1, 2), (2, 4)])
        for view, frame in [(1, 3), (0, 9), (1, 2), (1, 2), (2, 4), (2, 4)]:
            assert torch.equal(images.image((view, frame))[:, 5, 5], torch.tensor([view, frame, 255]) / 255)


def test_every_image_is_read_once_although_more_are_announced_than_fit():
    store = Store()
    view_frames = [(view, frame) for frame in range(40) for view in (1, 2)]
    with ReadAhead(scene_of(store), memory_mb=0, workers=1) as images:
        images.announce(view_frames)
        wait_for_reads(images)
        assert images.slots == 1 and store.reads == 1
        for view_frame in reversed(view_frames):  # another order than announced: the one that is read waits to the end
            images.image(view_frame)
    assert store.reads == len(view_frames)


def test_an_image_that_cannot_be_read_is_an_error_when_it_is_asked_for():
    with ReadAhead(scene_of(Store(bad=(1, 2)))) as images:
        images.announce([(1, 2), (1, 3)])
        assert images.image((1, 3)).shape == (3, 64, 64)
        with pytest.raises(OSError, match="disk unplugged"):
            images.image((1, 2))


def test_frames_that_cannot_be_written_are_read_without_a_warning():
    class Cached(Store):
        """Read-only frames, as those of a mapped file are."""

        def read(self, view: int, frame: int) -> np.ndarray:
            pixels = super().read(view, frame)
            pixels.flags.writeable = False
            return pixels

    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else PyTorch warns once in a process
    try:
        with warnings.catch_warnings(), ReadAhead(scene_of(Cached())) as images:
            warnings.simplefilter("error")
            assert images.image((1, 2))[0, 5, 5] == 1 / 255
    finally:
        torch.set_warn_always(before)
