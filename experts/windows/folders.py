"""Folders of the windows of an expert: `<model>/window_<first>-<last>`, each a model of its frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from common.text.wording import counted
from experts.base import CheckpointError

_NAME = re.compile(r"window_(\d+)-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The frames of a clip that one model shows, from its beginning on."""

    first: int
    last: int  # included

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"window_{self.first}-{self.last}"

    def holds(self, frame: float) -> bool:
        """Tell whether it shows a frame; a fractional one after its last belongs to it."""
        return self.first <= frame < self.last + 1


def planned_windows(frames: int, *, length: int, overlap: int) -> tuple[Window, ...]:
    """The fewest windows of at most `length` frames that overlap by `overlap`, as equal in length as they can be."""
    if frames <= length:
        return (Window(first=0, last=frames - 1),)
    count = -(-(frames - overlap) // (length - overlap))
    firsts = [round(index * (frames - overlap) / count) for index in range(count + 1)]
    return tuple(Window(first=first, last=after + overlap - 1) for first, after in pairwise(firsts))


def windows_below(path: Path) -> tuple[Window, ...]:
    """The windows whose folders lie in a folder, in time order."""
    if not path.is_dir():
        return ()
    found = [match for entry in path.iterdir() if entry.is_dir() and (match := _NAME.fullmatch(entry.name))]
    windows = [Window(first=int(match[1]), last=int(match[2])) for match in found]
    return tuple(sorted(windows, key=lambda window: (window.first, window.last)))


def check_windows(path: Path, windows: Sequence[Window], num_frames: int | None) -> None:
    """Raise CheckpointError where windows leave frames out, or more than two show a frame. num_frames: of the clip."""
    for window in windows:
        if window.last < window.first:
            raise CheckpointError(f"{path}: {window.name} ends before it begins; rename it")
    if windows[0].first:
        raise CheckpointError(
            f"{path}: no window for frames 0 to {windows[0].first - 1} before {windows[0].name}; train it with "
            "--window 1, or give the folder above all windows"
        )
    for one, other in pairwise(windows):
        if other.first > one.last + 1:
            raise CheckpointError(
                f"{path}: no window for frames {one.last + 1} to {other.first - 1}, between {one.name} and "
                f"{other.name}; train it with --window"
            )
        if other.last <= one.last:
            raise CheckpointError(f"{path}: {other.name} ends before {one.name} does; move the wrong one away")
    for one, other in zip(windows, windows[2:], strict=False):
        if other.first <= one.last:
            raise CheckpointError(
                f"{path}: {one.name} and {other.name} show the same frames with a window between them; at most two "
                "may: move the wrong one away"
            )
    covered = windows[-1].last + 1
    if num_frames is not None and covered < num_frames:
        raise CheckpointError(
            f"{path}: covers {covered} of the clip's {counted(num_frames, 'frame')}; add the window that follows "
            f"{windows[-1].name}, or shorten the clip with --duration"
        )
