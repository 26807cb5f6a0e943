"""Frames of a video file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import SupportsBytes, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from common.disk.contained import regular
from common.disk.faults import reading
from scenes.frames.coding import Coding, coding_of
from scenes.frames.key_frames import FrameTimes, frame_times
from scenes.frames.orientation import UPRIGHT, Orientation, orientation_of, shown, shown_size
from scenes.frames.timing import UNEVEN, Timing, timing_of
from scenes.types import SceneError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video whose frames, those that players show, count from 0."""

    path: Path
    count: int
    width: int  # as shown, px
    height: int
    orientation: Orientation = UPRIGHT  # of the stored frames
    timing: Timing | None = None  # None where the file does not tell
    first_time: float | None = None  # s: time stamp of the first frame; None where the file does not tell
    coding: Coding | None = None  # of the colours; None: not read

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
    """Read count, size, orientation, times and coding; no frame but the first is decoded.

    SceneError where the file is unreadable, empty, or shown at a slant.
    """
    with _opened(path) as (container, stream):
        size = stream.codec_context.width, stream.codec_context.height
        coding = coding_of(stream.codec_context)
        count, timing = _indexed(container, stream) or _demuxed(container, stream)
    if timing is not None and timing.uneven >= UNEVEN:  # an index has decoding times, which may start unevenly
        with _opened(path) as (container, stream):
            count, timing = _demuxed(container, stream)
    if count == 0 or 0 in size:
        raise SceneError(f"{path}: {count} frames of {size[0]}x{size[1]} px; copy or encode the video again")
    first = _first_frame(path)
    orientation = UPRIGHT if first is None else _orientation(path, first)
    width, height = shown_size(*size, orientation)
    return Video(
        path=path,
        count=count,
        width=width,
        height=height,
        orientation=orientation,
        timing=timing,
        first_time=None if first is None else first.time,
        coding=coding,
    )


def _indexed(container: InputContainer, stream: VideoStream) -> tuple[int, Timing | None] | None:
    """Number of shown frames and their timing, from the file's index; None where it has none.

    The index of an MP4 marks the frames that its edit list hides.
    """
    if not stream.frames:
        return None
    entries = list(stream.index_entries) if container.format.name.startswith("mov") else []
    if not entries:
        return stream.frames, timing_of((), stream.average_rate)
    times = _seconds([entry.timestamp for entry in entries], stream)
    return sum(1 for entry in entries if not entry.is_discard), timing_of(times, stream.average_rate)


def _demuxed(container: InputContainer, stream: VideoStream) -> tuple[int, Timing | None]:
    """Number of shown frames and their timing, from reading the whole file without decoding."""
    stamps = [packet.pts for packet in container.demux(stream) if _is_shown(packet)]
    known = [stamp for stamp in stamps if stamp is not None]
    times = _seconds(known, stream) if len(known) == len(stamps) else ()
    return len(stamps), timing_of(times, stream.average_rate)


def _seconds(stamps: Sequence[int], stream: VideoStream) -> list[float]:
    return [float(stamp * stream.time_base) for stamp in stamps] if stream.time_base else []


def _first_frame(path: Path) -> av.VideoFrame | None:
    """The first shown frame; None where it cannot be decoded: decoding the clip tells what is wrong with the file."""
    with _opened(path) as (container, stream):
        try:
            return next(container.decode(stream))
        except Exception:
            return None


def _orientation(path: Path, frame: av.VideoFrame) -> Orientation:
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    orientation = orientation_of(np.frombuffer(bytes(cast(SupportsBytes, data)), "<i4"))
    if orientation is None:
        raise SceneError(f"{path}: is shown turned by another angle than 90, 180 or 270 degrees; encode it upright")
    return orientation


def decode_video(video: Video, start: int, count: int, *, threads: int) -> Iterator[np.ndarray]:
    """Yield uint8 [height, width, 3] RGB of the frames [start, start + count).

    Frames are turned as players turn them, and those that an edit list hides are left out.
    Colours are converted by FFmpeg's swscale with the matrix and range the file states, BT.601 with limited range
    where it states none: the same bits as OpenCV's VideoCapture, which the experts' own preparation uses.
    Decoding begins at the last key frame before the clip, where the file tells where frames lie.
    SceneError where the file ends early or is damaged.
    """
    done = 0
    for frame in _from_key_frame(video, start, count, threads=threads):
        done += 1
        yield _pixels(frame, video)
    if done == count:
        return
    start, count, done = start + done, count - done, 0
    with _opened(video.path) as (container, stream):
        stream.thread_type = "FRAME"
        stream.codec_context.thread_count = threads
        frames = enumerate(container.decode(stream))
        while done < count:
            try:
                number, frame = next(frames)
            except Exception as error:  # a decoder that is missing raises ValueError
                reason = "ends" if isinstance(error, StopIteration) else f"breaks off ({error})"
                raise SceneError(
                    f"{video.path}: {reason} after {start + done} of {video.count} frames, {start + count} are needed; "
                    "copy the file again or end the clip earlier"
                ) from error
            if number >= start:
                done += 1
                yield _pixels(frame, video)


def _from_key_frame(video: Video, start: int, count: int, *, threads: int) -> Iterator[av.VideoFrame]:
    """Yield the frames [start, start + count) as far as they come with their own time stamps after a key frame.

    Fewer, or none, where a file is damaged or its key frames are no places to begin at: all that decoding from the
    beginning would tell of it is left to that.
    """
    stamp = video.path.stat()
    times = _frame_times(video.path, stamp.st_size, stamp.st_mtime_ns) if start else None
    key = times.key_before(start) if times is not None else None
    if times is None or key is None or key[0] == 0:
        return
    wanted = deque(times.shown[start : start + count])
    with _opened(video.path) as (container, stream), suppress(av.FFmpegError, EOFError, ValueError):
        stream.thread_type = "FRAME"
        stream.codec_context.thread_count = threads
        container.seek(key[1], stream=stream)
        for frame in container.decode(stream):
            if not wanted or frame.pts is None or frame.pts > wanted[0]:
                return
            if frame.pts == wanted[0]:
                wanted.popleft()
                yield frame


@lru_cache(maxsize=256)
def _frame_times(path: Path, size: int, changed: int) -> FrameTimes | None:
    """Time stamps of a video's frames, read once as long as size and time of change of its file stay."""
    with _opened(path) as (container, stream):
        try:
            return frame_times(packet for packet in container.demux(stream) if _is_shown(packet))
        except (av.FFmpegError, EOFError):
            return None


def decode_keyframes(video: Video, start: int, count: int) -> Iterator[np.ndarray]:
    """Yield uint8 [height, width, 3] RGB of at most `count` key frames after about frame `start`, evenly chosen.

    Quick in a long video, since no other frame is decoded; a video may have no key frame but its first. SceneError
    where the file is damaged.
    """
    try:
        with _opened(video.path) as (container, stream):
            packets = [packet.is_keyframe for packet in container.demux(stream) if _is_shown(packet)]
            keys = [number for number, is_key in enumerate(packets) if is_key and number >= start]
            chosen = {keys[round(index)] for index in np.linspace(0, len(keys) - 1, min(count, len(keys)))}
        with _opened(video.path) as (container, stream):
            stream.thread_type = "SLICE"
            for number, packet in enumerate(packet for packet in container.demux(stream) if _is_shown(packet)):
                if number in chosen:
                    yield from (_pixels(frame, video) for frame in packet.decode())
            yield from (_pixels(frame, video) for frame in stream.decode(None))
    except (av.FFmpegError, EOFError) as error:
        raise SceneError(f"{video.path}: a key frame is damaged ({error}); copy or encode the video again") from error


def _is_shown(packet: av.Packet) -> bool:
    return bool(packet.size) and not packet.is_discard


def _pixels(frame: av.VideoFrame, video: Video) -> np.ndarray:
    return shown(frame.to_ndarray(format="rgb24"), video.orientation)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    with (
        reading(path, "not a readable video", SceneError, advice="copy or encode it again"),
        av.open(str(regular(path))) as container,
    ):
        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not streams:
            raise SceneError(f"{path}: holds no video stream; copy or encode it again")
        yield container, streams[0]
