"""The clip: the frames of the files that are used."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from common.text.wording import counted, first_and_more, shell
from scenes.frames.sources import FrameSource
from scenes.frames.timing import UNEVEN, Timing
from scenes.frames.video import Video
from scenes.options import SceneOptions
from scenes.types import SceneError

logger = logging.getLogger(__name__)

LATE = 0.5  # frames: at the end of the clip, a camera then shows the moment of another one's next frame
OTHER_RATE = 1.1  # ratio of two frame rates from which frame N of both cannot be the same moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Frames [start, start + count), numbered as in the files."""

    start: int
    count: int
    available: int  # frames that every camera has from the start on
    notes: tuple[str, ...] = ()


def first_frame(sources: Mapping[str, FrameSource], options: SceneOptions) -> int:
    """Number the clip's first frame: as asked for, or as the files' first one if 0 is asked for but absent.

    SceneError for a number below 0, which no file has.
    """
    if options.start < 0:
        raise SceneError(f"start {options.start} names no frame: frames are counted from 0")
    lowest = [source.first for source in sources.values()]
    return max(lowest) if options.start == 0 and min(lowest) > 0 else options.start


def wanted_frame_count(options: SceneOptions, start: int) -> int | None:
    """Count the frames that end and duration ask for from `start` on; None where both leave it open.

    SceneError where they leave no frame, or where the duration exceeds [start, end).
    """
    if options.end != -1 and options.end <= start:
        raise SceneError(f"end {options.end} leaves no frame from {start} on: give an end above the start, or -1")
    if options.duration != -1 and options.duration < 1:
        raise SceneError(f"duration {options.duration} leaves no frame: give a positive number, or -1 for all")
    in_range = None if options.end == -1 else options.end - start
    if options.duration == -1:
        return in_range
    if in_range is not None and options.duration > in_range:
        raise SceneError(
            f"duration {options.duration} exceeds the {counted(in_range, 'frame')} of [{start}, {options.end}): "
            "lower the duration or raise the end"
        )
    return options.duration


def choose_clip(sources: Mapping[str, FrameSource], options: SceneOptions) -> Clip:
    """Choose the clip, which every camera must have; without end or duration it is as long as the shortest camera.

    Warns of footage that gets lost, of images whose numbers begin differently, and of uneven or different frame rates.
    SceneError where a camera has too few frames or a gap in them, or where frame rates are too different.
    """
    start = first_frame(sources, options)
    notes = [] if start == options.start else [f"frame numbers begin at {start}, so the clip begins at frame {start}"]
    notes += _other_first_numbers(sources)
    runs = {name: source.run(start) for name, source in sources.items()}
    shortest = min(runs, key=lambda name: (runs[name], name))
    count = wanted_frame_count(options, start)
    if count is not None:
        if runs[shortest] < count:
            raise SceneError(_too_few(runs, shortest, count, start))
        return Clip(
            start=start, count=count, available=runs[shortest], notes=(*notes, *_timing_warnings(sources, count))
        )
    for name, source in sources.items():
        _check_whole(name, source, start, runs[name])
    lost = _lost_frames(runs, shortest)
    for warning in lost:
        logger.warning("%s", warning)
    notes += [*lost, *_timing_warnings(sources, runs[shortest])]
    return Clip(start=start, count=runs[shortest], available=runs[shortest], notes=tuple(notes))


def _other_first_numbers(sources: Mapping[str, FrameSource]) -> list[str]:
    """Warn where the first numbers of cameras' images differ: those of one number may not show one moment."""
    firsts = {name: source.first for name, source in sources.items()}
    usual, _ = Counter(firsts.values()).most_common(1)[0]
    others = [f"{name} at {first}" for name, first in firsts.items() if first != usual]
    if not others:
        return []
    warning = (
        f"numbers of images begin at {usual}, but {first_and_more(others)}; images of one number are taken for one "
        "moment: if the first ones of all cameras show the same, number them alike"
    )
    logger.warning("%s", warning)
    return [warning]


def _lost_frames(runs: Mapping[str, int], shortest: str) -> list[str]:
    """Warn where one camera is shorter than the others, so that their last frames are not used."""
    longest = max(runs.values())
    if runs[shortest] == longest:
        return []
    cut = counted(runs[shortest], "frame")
    return [f"clip cut to {cut}, the length of {shortest} (others: up to {longest:,})"]


def _timing_warnings(sources: Mapping[str, FrameSource], count: int) -> list[str]:
    """Warn of videos in which frame N of a clip of `count` frames is not the same moment; returns the warnings."""
    videos = {name: source for name, source in sources.items() if isinstance(source, Video)}
    timings = {name: video.timing for name, video in videos.items() if video.timing}
    if count < 2 or not timings:
        return []
    uneven = {name: timing for name, timing in timings.items() if timing.uneven >= UNEVEN}
    warnings = [_uneven(uneven, videos)] if uneven else []
    slowest, fastest = (choose(timings, key=lambda name: timings[name].rate) for choose in (min, max))
    low, high = float(timings[slowest].rate), float(timings[fastest].rate)
    usual = median_low([float(timing.rate) for timing in timings.values()])
    odd = max(timings, key=lambda name: abs(float(timings[name].rate) - usual))
    rates = f"frame rates differ: {slowest} has {low:.5g} frames per second, {fastest} has {high:.5g}"
    if high >= OTHER_RATE * low:
        raise SceneError(
            f"{rates}; frame N is not the same moment: encode all videos at one rate, for example "
            + _encoding(videos[odd].path, f"{usual:.5g}")
        )
    late = (count - 1) * (high / low - 1)
    if late >= LATE:
        warnings.append(f"{rates}; at the end of the clip they are {late:.1f} frames apart")
    for warning in warnings:
        logger.warning("%s", warning)
    return warnings


def _encoding(video: Path, rate: str) -> str:
    """The commands that write a video at another rate into a folder `new` beside it."""
    target = video.parent / "new"
    return (
        shell("mkdir", "-p", target) + " && " + shell("ffmpeg", "-i", video, "-vf", f"fps={rate}", target / video.name)
    )


def _uneven(timings: Mapping[str, Timing], videos: Mapping[str, Video]) -> str:
    worst = max(timings, key=lambda name: timings[name].uneven)
    uneven, rate = timings[worst].uneven, float(timings[worst].rate)
    others = f"; {counted(len(timings) - 1, 'more camera')} with such frames" if len(timings) > 1 else ""
    return (
        f"{worst}: frame rate is not constant, frames are up to {uneven:.1f} frames ({1000 * uneven / rate:.0f} ms) "
        f"from an even {rate:.5g} per second{others}; unless all cameras share these times, encode each at one rate: "
        + _encoding(videos[worst].path, f"{rate:.0f}")
    )


def _check_whole(name: str, source: FrameSource, start: int, run: int) -> None:
    missing = start + run
    if run == 0 and missing > source.last:
        raise SceneError(f"{name}: no frame {start}, its frames are {source.first} to {source.last}; lower the start")
    if missing <= source.last:
        raise SceneError(
            f"{name}: frame {missing} is missing, its frames are {source.first} to {source.last}; "
            "extract the frames again, or set start and end around the gap"
        )


def _too_few(runs: Mapping[str, int], shortest: str, wanted: int, start: int) -> str:
    others = sum(1 for run in runs.values() if run < wanted) - 1
    are = "is" if others == 1 else "are"
    also = f", {others} other of {counted(len(runs), 'camera')} {are} too short as well" if others else ""
    return (
        f"{shortest}: {counted(runs[shortest], 'frame')} found from frame {start} on, {wanted} asked for{also}; "
        "lower duration or end, or complete the footage"
    )
