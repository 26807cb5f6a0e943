"""Sources of one camera's frames: a video or numbered images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scenes.frames.image_files import NumberedImages, decode_images
from scenes.frames.video import Video, decode_video

FrameSource = Video | NumberedImages


def decode(source: FrameSource, start: int, count: int, *, threads: int = 1) -> Iterator[np.ndarray]:
    """Yield uint8 [h, w, 3] RGB of the frames [start, start + count) at the source's own size.

    `threads` is what one video may use. SceneError where a frame is damaged or missing.
    """
    if isinstance(source, Video):
        return decode_video(source, start, count, threads=threads)
    return decode_images(source, start, count)
