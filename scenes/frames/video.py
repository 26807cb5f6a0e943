"""Frames of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from scenes.types import SceneError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video whose frames count from 0."""

    path: Path
    count: int
    width: int
    height: int

    @property
    def first(self) -> int:
        return 0

    @property
    def last(self) -> int:
        return self.count - 1

    def run(self, start: int) -> int:
        """Count the frames from `start` on without a gap."""
        return max(0, self.count - start)

    def files(self, start: int, count: int) -> list[Path]:
        """List the files that the frames [start, start + count) come from."""
        return [self.path]


def probe_video(path: Path) -> Video:
    """Read count and size from the file's index, without decoding; SceneError where it is unreadable or empty."""
    with _opened(path) as (container, stream):
        count = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        width, height = stream.codec_context.width, stream.codec_context.height
    if count == 0 or width == 0 or height == 0:
        raise SceneError(f"{path}: {count} frames of {width}x{height} px; copy or encode the video again")
    return Video(path=path, count=count, width=width, height=height)


def decode_video(video: Video, start: int, count: int, *, threads: int) -> Iterator[np.ndarray]:
    """Yield uint8 [height, width, 3] RGB of the frames [start, start + count).

    Colours are converted by FFmpeg's swscale with the matrix and range the file states, BT.601 with limited range
    where it states none: the same bits as OpenCV's VideoCapture, which the experts' own preparation uses.
    SceneError where the file ends early or is damaged.
    """
    done = 0
    with _opened(video.path) as (container, stream):
        stream.thread_type = "FRAME"
        stream.codec_context.thread_count = threads
        frames = enumerate(container.decode(stream))
        while done < count:
            try:
                number, frame = next(frames)
            except (StopIteration, av.FFmpegError, EOFError) as error:
                reason = "ends" if isinstance(error, StopIteration) else f"breaks off ({error})"
                raise SceneError(
                    f"{video.path}: {reason} after {start + done} of {video.count} frames, {start + count} are needed; "
                    "copy the file again or end the clip earlier"
                ) from error
            if number >= start:
                done += 1
                yield frame.to_ndarray(format="rgb24")


def decode_keyframes(video: Video, start: int, count: int) -> Iterator[np.ndarray]:
    """Yield uint8 [height, width, 3] RGB of at most `count` key frames after about frame `start`, evenly chosen.

    Quick in a long video, since no other frame is decoded; a video may have no key frame but its first. SceneError
    where the file is damaged.
    """
    try:
        with _opened(video.path) as (container, stream):
            packets = [packet.is_keyframe for packet in container.demux(stream) if packet.size]
            keys = [number for number, is_key in enumerate(packets) if is_key and number >= start]
            chosen = {keys[round(index)] for index in np.linspace(0, len(keys) - 1, min(count, len(keys)))}
        with _opened(video.path) as (container, stream):
            stream.thread_type = "SLICE"
            for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
                if number in chosen:
                    yield from (frame.to_ndarray(format="rgb24") for frame in packet.decode())
            yield from (frame.to_ndarray(format="rgb24") for frame in stream.decode(None))
    except (av.FFmpegError, EOFError) as error:
        raise SceneError(f"{video.path}: a key frame is damaged ({error}); copy or encode the video again") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise SceneError(f"{path}: not a readable video ({error}); copy or encode it again") from error
    with container:
        if not container.streams.video:
            raise SceneError(f"{path}: holds no video stream; copy or encode it again")
        yield container, container.streams.video[0]
