"""Videos that several ranks encode in parts: rank 0 joins them without encoding anything again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import av
from av.video.stream import VideoStream

from common import ranks
from common.disk.files import replacing
from common.disk.leftovers import shared_folder


@contextmanager
def joined_parts(targets: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Gives the paths to which this rank writes its part of each video; in a process alone, the videos' own.

    targets: files of one folder. At the end of the block, when the parts are whole, rank 0 joins those of each video in
    the order of the ranks. A rank without frames leaves none. All videos get their names, or none does.
    """
    if ranks.count() == 1:
        yield targets
        return
    with shared_folder(targets[0].parent) as folder:
        yield [_part(folder, target, ranks.rank()) for target in targets]
        ranks.wait_for_all()
        if ranks.is_first():
            with ExitStack() as stack:
                for target in targets:
                    parts = [_part(folder, target, rank) for rank in range(ranks.count())]
                    if whole := [part for part in parts if part.is_file()]:
                        join(whole, stack.enter_context(replacing(target)))


def _part(folder: Path, target: Path, rank: int) -> Path:
    return folder / f"{target.stem}.{rank}{target.suffix}"


def join(parts: Sequence[Path], target: Path) -> None:
    """Writes the frames of MP4 videos of one encoder, size and rate one after the other into one."""
    early = max(_early(part) for part in parts)
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as joined:
        stream, shown, decoded = None, 0, 0  # frames of the parts before, and packets so far
        for part in parts:
            with av.open(str(part)) as opened:
                video = opened.streams.video[0]
                stream = stream or joined.add_stream_from_template(video)
                frame = _ticks(video)
                for packet in opened.demux(video):
                    if packet.pts is None:
                        continue  # the end of the part
                    packet.pts, packet.dts = packet.pts + shown * frame, (decoded - early) * frame
                    packet.stream = stream
                    joined.mux(packet)
                    decoded += 1
                shown += video.frames


def _early(part: Path) -> int:
    """Frames by which a video is decoded before it is shown, as its order of frames needs."""
    with av.open(str(part)) as opened:
        video = opened.streams.video[0]
        first = next(opened.demux(video))
        return 0 if first.dts is None else round(-first.dts / _ticks(video))


def _ticks(video: VideoStream) -> int:
    """Units of a video's time for each frame."""
    assert video.time_base is not None and video.average_rate is not None, "of VideoWriter"
    return round(1 / video.average_rate / video.time_base)
