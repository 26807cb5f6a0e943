"""Checks of what the files' headers and time stamps say; nothing is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from common.text.tables import Column, table_lines
from common.text.wording import counted
from scenes.frames.sources import FrameSource
from scenes.frames.video import Video

LATE = 0.5  # frames between the first time stamps of two cameras, from which frame N may be another moment
GAP = 1.5  # frames between two neighbours, from which one was dropped between them
_NAMED = 4  # cameras with their numbers in one warning


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraHeader:
    """Facts of one camera's files; None: the files do not tell, as images do not."""

    name: str
    frames: int
    width: int  # px, as shown
    height: int
    rate: float | None = None  # frames per second
    first_time: float | None = None  # s: time stamp of the first frame
    gap: float | None = None  # frames: largest time between neighbours
    gap_before: int | None = None  # number of the frame after that gap
    pixel_format: str | None = None  # FFmpeg's name
    bits: int | None = None  # per colour component
    transfer: str | None = None  # "SDR", "PQ" or "HLG"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderChecks:
    """A row per camera, and what is wrong with them, one line each."""

    cameras: tuple[CameraHeader, ...]
    warnings: tuple[str, ...]


def check_headers(sources: Mapping[str, FrameSource]) -> HeaderChecks:
    """Compare the headers of cameras' files, by camera name (`Scene.sources`).

    Warns of first time stamps, gaps and frame counts that differ. Loading the scene warns of frame rates that differ,
    and of HDR.
    """
    rows = tuple(_header(name, source) for name, source in sources.items())
    warnings = (*_late_starts(rows), *_lone_gaps(rows), *_other_counts(rows))
    return HeaderChecks(cameras=rows, warnings=warnings)


def headers_table(checks: HeaderChecks) -> list[str]:
    """Lay out the rows as lines of aligned text, the headings with units first; "-": the files do not tell."""
    headings = ("frames", "size px", "fps", "first s", "gap frames", "format", "bits", "transfer")
    columns = [Column(heading="camera", left=True, gap=0), *(Column(heading=heading, gap=2) for heading in headings)]
    rows = [
        (
            row.name,
            str(row.frames),
            f"{row.width}x{row.height}",
            "-" if row.rate is None else f"{row.rate:.5g}",
            "-" if row.first_time is None else f"{row.first_time:.3f}",
            "-" if row.gap is None else f"{row.gap:.1f}",
            row.pixel_format or "-",
            "-" if row.bits is None else str(row.bits),
            row.transfer or "-",
        )
        for row in checks.cameras
    ]
    return table_lines(columns, rows)


def _header(name: str, source: FrameSource) -> CameraHeader:
    count = source.last - source.first + 1
    if not isinstance(source, Video):
        return CameraHeader(name=name, frames=count, width=source.width, height=source.height)
    timing, coding = source.timing, source.coding
    return CameraHeader(
        name=name,
        frames=count,
        width=source.width,
        height=source.height,
        rate=float(timing.rate) if timing else None,
        first_time=source.first_time,
        gap=timing.gap if timing else None,
        gap_before=timing.gap_before if timing else None,
        pixel_format=coding.pixel_format if coding else None,
        bits=coding.bits if coding else None,
        transfer=coding.transfer if coding else None,
    )


def _late_starts(rows: Sequence[CameraHeader]) -> list[str]:
    """Warn where the first time stamps of two cameras are at least LATE frames apart."""
    timed = [(row, row.first_time, row.rate) for row in rows if row.first_time is not None and row.rate]
    if len(timed) < 2:
        return []
    usual = median(time for _, time, _ in timed)
    late = {row.name: (time - usual) * rate for row, time, rate in timed}
    if max(late.values()) - min(late.values()) < LATE:
        return []
    others = {name: frames for name, frames in late.items() if abs(frames) >= LATE / 2}
    listed = [f"{name} {'later' if frames > 0 else 'earlier'} by {abs(frames):.1f}" for name, frames in others.items()]
    return [
        f"first time stamps differ, in frames from the median of {usual:.3f} s: {_some(listed)}; frame N may not be "
        "the same moment: cut frames off only if `moegs.py check` measures this offset from motion too"
    ]


def _lone_gaps(rows: Sequence[CameraHeader]) -> list[str]:
    """Warn of cameras with a gap between neighbouring frames that most cameras do not have at this place."""
    gaps = {
        row.name: (row.gap, row.gap_before)
        for row in rows
        if row.gap is not None and row.gap_before is not None and row.gap >= GAP
    }
    places = Counter(before for _, before in gaps.values())
    lone = {name: gap for name, gap in gaps.items() if 2 * places[gap[1]] <= len(rows)}
    if not lone:
        return []
    listed = [f"{name} {gap:.1f} frames before frame {before}" for name, (gap, before) in lone.items()]
    return [
        f"gaps in the time stamps that other cameras do not have: {_some(listed)}; from there on these cameras are "
        "ahead of the others: repeat the missing frames, for example ffmpeg -i "
        f"{next(iter(lone))}.mp4 -vf fps={_rate(rows)} new/{next(iter(lone))}.mp4"
    ]


def _rate(rows: Sequence[CameraHeader]) -> str:
    return f"{median(row.rate for row in rows if row.rate):.5g}"


def _other_counts(rows: Sequence[CameraHeader]) -> list[str]:
    counts = Counter(row.frames for row in rows)
    if len(counts) < 2:
        return []
    usual = max(counts, key=lambda count: (counts[count], count))
    listed = [f"{row.name} {row.frames:,}" for row in rows if row.frames != usual]
    return [
        f"frame counts differ: {counted(counts[usual], 'camera')} with {usual:,}, {_some(listed)}; a camera that lost "
        "frames inside the clip is out of step from there on: compare the end of the clip between the cameras"
    ]


def _some(listed: Sequence[str]) -> str:
    return ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")
