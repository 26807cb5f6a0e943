"""Folders of an STG model: one for the whole clip, or one per segment, named <scene>_<first>to<last>."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.text.wording import counted
from experts.base import CheckpointError

_SEGMENT = re.compile(r"(?:(?P<prefix>.+)_)?(?P<first>\d+)to(?P<last>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFolder:
    """A trained model's folder and the frames it shows; both None for a single model that does not say."""

    folder: Path
    prefix: str | None = None
    first: int = 0
    last: int | None = None  # included


def frames_name(first: int, last: int) -> str:
    """The frames of a segment, last one included, as names of folders have them."""
    return f"{first}to{last}"


def segment_folder(path: Path, first: int, last: int) -> Path:
    """The folder of a segment below a model's, as training names it: <the model's last component>_<first>to<last>."""
    return path / f"{path.resolve().name}_{frames_name(first, last)}"


def segment_names(path: Path) -> list[str]:
    """Names of the folders below a path that are named like segments, sorted."""
    return [segment.folder.name for segment in _named(path)]


def segment_frames(name: str) -> tuple[int, int]:
    """The first and the last frame of a segment, by the name of its folder; ValueError where it is no segment's."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        raise ValueError(f"{name}: a name as scene_0to49 expected")
    return int(match["first"]), int(match["last"])


def find_segments(path: Path, *, scene: str | None = None) -> tuple[SegmentFolder, ...]:
    """The segments below a path in time order, or the path itself where it holds a model.

    Their prefix is the scene's or the folder's name (MoE-GS's training layout) or missing (its results' layout).
    Raises CheckpointError for another scene's segments, gaps, overlaps and a start after frame 0.
    """
    named = _named(path)
    if named and (path / "point_cloud").exists():
        raise CheckpointError(
            f"{path}: holds both a model (point_cloud) and segments ({named[0].folder.name}); split them"
        )
    own = _parse(path, path.resolve().name) or SegmentFolder(folder=path)
    segments = _of_scene(path, named, scene) if named else [own]
    _check_order(path, segments)
    return tuple(segments)


def check_coverage(path: Path, covered: int, num_frames: int | None) -> None:
    """Raise CheckpointError where a clip is longer than the segments."""
    if num_frames is not None and covered < num_frames:
        raise CheckpointError(
            f"{path}: covers {covered} of the clip's {counted(num_frames, 'frame')}; "
            f"add the segment that starts at {covered}"
        )


def _named(path: Path) -> list[SegmentFolder]:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
    return [segment for folder in folders if (segment := _parse(folder, folder.name)) is not None]


def _parse(folder: Path, name: str) -> SegmentFolder | None:
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return None
    return SegmentFolder(folder=folder, prefix=match["prefix"], first=int(match["first"]), last=int(match["last"]))


def _of_scene(path: Path, named: Sequence[SegmentFolder], scene: str | None) -> list[SegmentFolder]:
    prefixes = {segment.prefix for segment in named}
    wanted = [scene, path.resolve().name, None] if scene is not None else [path.resolve().name, None]
    if scene is None and len(prefixes) == 1:
        wanted += list(prefixes)
    chosen = next((prefix for prefix in wanted if prefix in prefixes), "")
    if chosen == "":
        there = ", ".join(segment.folder.name for segment in named[:4])
        raise CheckpointError(f"{path}: segments {wanted[0]}_<first>to<last> expected, found {there}; another scene's?")
    return sorted((s for s in named if s.prefix == chosen), key=lambda segment: segment.first)


def _check_order(path: Path, segments: Sequence[SegmentFolder]) -> None:
    expected = 0
    for segment in segments:
        name = segment.folder.name
        if segment.last is not None and segment.last < segment.first:
            raise CheckpointError(f"{path}: segment {name} ends before it starts; rename it")
        if segment.first > expected:
            hint = (
                "give the folder above all segments, or complete it"
                if len(segments) == 1
                else f"add the segment that starts at {expected}"
            )
            raise CheckpointError(
                f"{path}: no segment for frames {expected} to {segment.first - 1} before {name}; {hint}"
            )
        if segment.first < expected:
            raise CheckpointError(f"{path}: segment {name} overlaps the one before it, which ends at {expected - 1}")
        expected = (segment.last or 0) + 1
