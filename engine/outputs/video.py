"""H.264 videos that every player shows in the right colours, written frame by frame."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from common.disk.files import replacing
from engine.outputs.encoders import SOFTWARE, Encoder

FPS = 30  # where the footage has no frame rate

# H.273 code points of the tags
SRGB_PRIMARIES, SRGB_TRANSFER, BT601_MATRIX, LIMITED_RANGE = 1, 13, 6, 1
NO_COLOUR = 128  # the chroma of grey


class VideoWriter:
    """Streams uint8 frames into an MP4 (H.264, yuv420p); the file gets its name only when complete.

    Colours are converted with the BT.601 matrix to limited range and tagged so: players obey the tags, and readers
    that ignore them (OpenCV) assume BT.601. Odd sizes are padded to even ones by repeating the last row or column.
    Use it as a context manager; leaving by an exception, or before the first frame, leaves no file.
    """

    def __init__(self, path: Path, *, fps: Fraction | int = FPS, encoder: Encoder = SOFTWARE) -> None:
        self.path = path
        self.frames = 0
        self._fps = fps
        self._encoder = encoder
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._shape: tuple[int, ...] = ()
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def write(self, image: np.ndarray) -> None:
        """Appends a frame, uint8 [h, w, 3] RGB or [h, w] grey; ValueError if its shape differs from the first's."""
        if self._stream is None:
            self._open(image)
        if image.shape != self._shape:
            raise ValueError(f"{self.path}: frame {self.frames} is {image.shape}, the first was {self._shape}")
        self._encode(self._frame(image))
        self.frames += 1

    def _frame(self, image: np.ndarray) -> av.VideoFrame:
        """Converts an image outside of Python's global lock, so that several writers convert at a time."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            edges = ((0, height % 2), (0, width % 2), *[(0, 0)] * (image.ndim - 2))
            image = np.pad(image, edges, mode="edge")
        return _converted(_copied(image), self._reformatter) if image.ndim == 3 else _grey_frame(image)

    def finish(self) -> None:
        """Encodes what the encoder holds back, and completes the file, which gets its name at the end of the block."""
        if self._container is not None:
            self._encode(None)
            self._container.close()
            self._container = None

    def _open(self, image: np.ndarray) -> None:
        self._shape = image.shape
        temporary = self._stack.enter_context(replacing(self.path))
        self._container = self._stack.enter_context(
            av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"})
        )
        stream: Any = self._container.add_stream(
            self._encoder.codec, rate=self._fps, options=dict(self._encoder.options)
        )
        height, width = image.shape[:2]
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = stream.codec_context
        context.color_primaries, context.color_trc = SRGB_PRIMARIES, SRGB_TRANSFER
        context.colorspace, context.color_range = BT601_MATRIX, LIMITED_RANGE
        self._stream = stream

    def _encode(self, frame: av.VideoFrame | None) -> None:
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self.finish()


def _converted(frame: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    return reformatter.reformat(
        frame,
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.MPEG,
    )


def _copied(image: np.ndarray) -> av.VideoFrame:
    """Copies an RGB image into a frame of FFmpeg's own: it reads a little beyond the end of an image."""
    height, width = image.shape[:2]
    frame = av.VideoFrame(width, height, "rgb24")
    _rows(frame, 0)[:, : 3 * width] = image.reshape(height, 3 * width)
    return frame


def _grey_frame(image: np.ndarray) -> av.VideoFrame:
    """Looks the luma of a grey image of even size up: the bits of the conversion from RGB in a tenth of its time."""
    height, width = image.shape
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.colorspace, frame.color_range = BT601_MATRIX, LIMITED_RANGE
    _rows(frame, 0)[:, :width] = Image.fromarray(image).point(_luma_of_greys())
    for chroma in (1, 2):
        _rows(frame, chroma)[:] = NO_COLOUR
    return frame


@lru_cache(maxsize=1)
def _luma_of_greys() -> list[int]:
    """The luma that FFmpeg gives each of the 256 grey levels."""
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (2, 256, 3))
    return _rows(_converted(_copied(levels), VideoReformatter()), 0)[0, :256].tolist()


def _rows(frame: av.VideoFrame, number: int) -> np.ndarray:
    """The bytes of a frame's plane by row, which can be changed; a row may be longer than the image."""
    plane: Any = frame.planes[number]  # a writable buffer, which its stub does not say
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
