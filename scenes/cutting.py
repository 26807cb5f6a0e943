"""Cutting a clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from scenes.types import Chunks, FramesOnDisk, FrameStore, Scene, SceneError


def cut(scene: Scene, first: int, count: int) -> Scene:
    """Cut a scene to frames first ... first + count - 1, numbered from 0; SceneError where it has not so many."""
    if not 0 <= first < first + count <= scene.num_frames:
        raise SceneError(
            f"{scene.root}: frames {first} to {first + count - 1} asked for; the clip has 0 to {scene.num_frames - 1}"
        )
    return replace(
        scene,
        start=scene.start + first,
        num_frames=count,
        footage_frames=scene.footage_frames - first,
        frames=_Later(scene.frames, first),
    )


@dataclass(frozen=True, slots=True)
class _Later:
    """Frames counted from a later one."""

    frames: FrameStore
    first: int

    def read(self, view: int, frame: int) -> np.ndarray:
        """Read uint8 [h, w, 3] RGB."""
        return self.frames.read(view, self.first + frame)

    def prepare(self, views: Iterable[int]) -> None:
        """Make frames of views ready to be read, those of the whole clip."""
        self.frames.prepare(views)

    def on_disk(self, views: Iterable[int]) -> FramesOnDisk:
        """Tell how much of views is ready, of the whole clip."""
        return self.frames.on_disk(views)

    def chunks(self) -> Chunks | None:
        """Tell which frames are best read one after the other."""
        chunks = self.frames.chunks()
        return None if chunks is None else replace(chunks, offset=(chunks.offset + self.first) % chunks.length)
