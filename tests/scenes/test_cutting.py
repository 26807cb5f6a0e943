"""A part of a clip."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scenes import SceneError
from scenes.cutting import cut
from tests.scenes.frames.test_prefetch import Store, scene_of


def test_a_cut_is_a_clip_of_its_own():
    scene = replace(scene_of(Store()), start=10, footage_frames=60)
    part = cut(scene, 20, 5)
    assert (part.start, part.num_frames, part.footage_frames) == (30, 5, 40)
    assert part.frames.read(1, 2)[5, 5].tolist() == [1, 22, 255]
    with pytest.raises(SceneError, match="frames 48 to 52 asked for; the clip has 0 to 49"):
        cut(scene, 48, 5)
