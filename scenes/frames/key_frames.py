"""Time stamps of a video's frames, by which decoding begins at a key frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import av


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimes:
    """Time stamps of a video's shown frames, in the unit of its stream."""

    shown: tuple[int, ...]  # of frame 0, 1, 2 and so on
    keys: tuple[tuple[int, int], ...]  # of key frames: number, and the time stamp to seek to

    def key_before(self, frame: int) -> tuple[int, int] | None:
        """Give number and time stamp of the last key frame up to a frame; None where there is none."""
        index = bisect_right([number for number, _ in self.keys], frame)
        return self.keys[index - 1] if index else None


def frame_times(packets: Iterable[av.Packet]) -> FrameTimes | None:
    """Read the time stamps of a video's packets of shown frames; None where frames have no time stamp of their own."""
    stamps: list[int] = []
    keys: list[tuple[int, int]] = []  # when it is shown, and when it is decoded: seeking goes by the latter
    for packet in packets:
        if packet.pts is None:
            return None
        stamps.append(packet.pts)
        if packet.is_keyframe:
            keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
    shown = tuple(sorted(stamps))
    if len(set(shown)) < len(shown):
        return None
    numbers = {stamp: number for number, stamp in enumerate(shown)}
    return FrameTimes(shown=shown, keys=tuple((numbers[stamp], at) for stamp, at in sorted(keys)))
