"""Comparison of two scenes' footage by their files, before a scene is prepared and can be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from scenes.frames.image_files import IMAGE_SUFFIXES
from scenes.frames.video import VIDEO_SUFFIXES
from scenes.layouts import LAYOUTS
from scenes.layouts.contents import OWN_FOLDERS, is_hidden
from scenes.preparation.steps import Workbench

_IMAGES = ("*/*", "*/images/*", "images/*/*")  # of cameras, below a scene's folder, as layouts have them
_COMPARED = 32  # images, evenly spread over all of one name: cameras and frames
_SAMPLE = 1 << 14  # bytes of a file's beginning and end


def other_footage(before: Path, now: Path) -> str | None:
    """Tell what of two scenes' folders is of different scenes: "videos", "images", "frames" of both kinds, or None.

    Copies have videos of the same sizes; one of the two may hold more, which no camera has. Of images that have one
    name in both, most are the same in copies. A folder that is gone or has no footage is no other scene.
    """
    if before.is_dir() and now.is_dir() and before.samefile(now):
        return None
    videos, others = _video_sizes(before), _video_sizes(now)
    if videos and others:
        return None if videos <= others or others <= videos else "videos"
    images, other_images = _images(before), _images(now)
    if images and other_images:
        return "images" if _are_others(images, other_images) else None
    return "frames" if (videos or images) and (others or other_images) else None


def _video_sizes(root: Path) -> set[int]:
    """Bytes of each video in a scene's folder; none where there is no such folder."""
    return {path.stat().st_size for path in root.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()}


def _images(root: Path) -> dict[str, Path]:
    """A scene's images by their names below its folder, but for what its preparation made."""
    if not root.is_dir():
        return {}
    frames = [path for path in root.iterdir() if any(spec.is_like(path.name) for spec in LAYOUTS.values())]
    found = (*frames, *(path for pattern in _IMAGES for path in root.glob(pattern)))
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path)]
    made = Workbench(root).owned() | {*OWN_FOLDERS}
    names = {path.relative_to(root): path for path in images if path.is_file()}
    return {
        name.as_posix(): path
        for name, path in names.items()
        if made.isdisjoint(part.as_posix() for part in (name, *name.parents))
    }


def _are_others(images: Mapping[str, Path], others: Mapping[str, Path]) -> bool:
    """True where most images of one name differ, or, of scenes without one, most are of other sizes."""
    if common := sorted(images.keys() & others.keys()):
        chosen = common[:: -(-len(common) // _COMPARED)]
        return 2 * sum(_mark(images[name]) != _mark(others[name]) for name in chosen) > len(chosen)
    sizes, other_sizes = ({path.stat().st_size for path in each.values()} for each in (images, others))
    return 2 * len(sizes & other_sizes) < min(len(sizes), len(other_sizes))


def _mark(path: Path) -> str:
    """A file's size and a hash of its two ends: images without compression have one size whatever they show."""
    with path.open("rb") as file:
        beginning, size = file.read(_SAMPLE), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _SAMPLE))
        return f"{size} {hashlib.sha256(beginning + file.read()).hexdigest()}"
