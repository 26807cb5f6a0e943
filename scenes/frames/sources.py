"""Sources of one camera's frames: a video or numbered images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scenes.frames.image_files import NumberedImages, decode_images
from scenes.frames.video import Video, decode_video

FrameSource = Video | NumberedImages

# Pixels of the footage that one core decodes, halves and writes in a second: H.264 of 2704x2028 px at 21 Mbit/s, and
# JPEGs of 1345x1008 px. Other codecs and processors differ by a factor of two or more.
_VIDEO_PIXELS, _IMAGE_PIXELS = 60e6, 23e6


def decode(source: FrameSource, start: int, count: int, *, threads: int = 1) -> Iterator[np.ndarray]:
    """Yield uint8 [h, w, 3] RGB of the frames [start, start + count) at the source's own size.

    `threads` is what one video may use. SceneError where a frame is damaged or missing.
    """
    if isinstance(source, Video):
        return decode_video(source, start, count, threads=threads)
    return decode_images(source, start, count)


def decoding_seconds(source: FrameSource, count: int) -> float:
    """Estimate the time of one core to decode `count` frames into the cache, about."""
    rate = _VIDEO_PIXELS if isinstance(source, Video) else _IMAGE_PIXELS
    return count * source.width * source.height / rate
