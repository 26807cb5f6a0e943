"""N3V's frames: the folders and files in which they are found."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Set
from pathlib import Path
from typing import Any

from scenes.calibration.poses_bounds import POSES
from scenes.frames.clip import Clip, choose_clip, first_frame, wanted_frame_count
from scenes.frames.image_files import images_of, keyed_images, numbered_images, probe_images
from scenes.frames.sources import FrameSource
from scenes.frames.video import VIDEO_SUFFIXES, probe_video
from scenes.layouts.contents import no_frames
from scenes.options import SceneOptions
from scenes.preparation.steps import Workbench
from scenes.types import SceneError

CAMERA_NAME = re.compile(r"cam\d+")
NAMED_FRAME = re.compile(r"frame_?(\d+)")
TEST_CAMERA = "cam00"


def is_like_n3v(name: str) -> bool:
    """Tell whether a file or folder of this name belongs to an N3V scene."""
    return name == POSES or re.fullmatch(r"cam\d+(\.\w+)?", name) is not None


def natural(name: str) -> list[Any]:
    """Give a sorting key by which cam2 comes before cam10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.lower())]


def find_frames(
    root: Path, options: SceneOptions, *, names: Collection[str] = ()
) -> tuple[dict[str, FrameSource], Clip, list[str]]:
    """Find the frame sources by camera name (cam2 before cam10), and the clip; the notes tell what was decided.

    Of several layouts the first in FINDERS' order that has every camera and enough frames is used; without an end or
    duration, as many as the richest layout has. Where no camera is called camXX, videos and folders of images called as
    one of `names` are used. SceneError where there are no frames, or too few in every layout.
    """
    layouts = {label: sources for label, find in FINDERS.items() if (sources := find(root))}
    if not layouts:
        layouts = {label: sources for label, find in NAMED_FINDERS.items() if (sources := find(root, names))}
    if not layouts:
        raise no_frames(root, list(FINDERS), "N3V")
    most = max(len(sources) for sources in layouts.values())
    whole = {label: sources for label, sources in layouts.items() if len(sources) == most}
    label = _richest_or_first_sufficient(whole, options)
    sources = {name: layouts[label][name] for name in sorted(layouts[label], key=natural)}
    clip = choose_clip(sources, options)
    others = {other: layouts[other] for other in layouts if other != label}
    return sources, clip, [f"frames from {label}{_unused(root, others, clip, cameras=most)}"]


def _unused(root: Path, layouts: Mapping[str, Mapping[str, FrameSource]], clip: Clip, *, cameras: int) -> str:
    """The end of a note: layouts that are not used, but for what a preparation wrote."""
    owned = Workbench(root).owned() if layouts else set()
    foreign = {label: sources for label, sources in layouts.items() if not _is_owned(root, sources, owned)}
    whole = [
        label
        for label, sources in foreign.items()
        if len(sources) == cameras and all(source.run(clip.start) >= clip.count for source in sources.values())
    ]
    preferred = f", preferred to {', '.join(whole)}" if whole else ""
    rest = [label for label in foreign if label not in whole]
    return preferred + (f"; incomplete and not used: {', '.join(rest)}" if rest else "")


def _is_owned(root: Path, sources: Mapping[str, FrameSource], owned: Set[str]) -> bool:
    """True where a preparation wrote all files of all cameras, or a folder above them."""
    files = (path for source in sources.values() for path in source.files(source.first, source.run(source.first)))
    names = (path.relative_to(root) for path in files)
    return all(not owned.isdisjoint(part.as_posix() for part in (name, *name.parents)) for name in names)


def _richest_or_first_sufficient(layouts: Mapping[str, Mapping[str, FrameSource]], options: SceneOptions) -> str:
    starts = {label: first_frame(sources, options) for label, sources in layouts.items()}
    runs = {label: min(source.run(starts[label]) for source in layouts[label].values()) for label in layouts}
    for label, run in runs.items():
        wanted = wanted_frame_count(options, starts[label])
        if run >= (max(runs.values()) if wanted is None else wanted):
            return label
    return max(runs, key=lambda label: runs[label])


def named_frames(folder: Path) -> dict[int, Path]:
    """Find a folder's images called frame_<number>; SceneError where two have one number."""
    pairs = ((NAMED_FRAME.fullmatch(path.stem), path) for path in images_of(folder))
    return keyed_images((int(match[1]), path) for match, path in pairs if match)


def _images_in(
    pattern: str, *, camera: int, images: Callable[[Path], dict[int, Path]] = numbered_images
) -> Callable[[Path], dict[str, FrameSource]]:
    """Finder of folders with `images`; path part `camera` below the root is the camera's name."""

    def find(root: Path) -> dict[str, FrameSource]:
        sources: dict[str, FrameSource] = {}
        for folder in root.glob(pattern):
            name = folder.relative_to(root).parts[camera]
            if folder.is_dir() and CAMERA_NAME.fullmatch(name) and (paths := images(folder)):
                sources[name] = probe_images(paths)
        return sources

    return find


def _videos(root: Path) -> dict[str, FrameSource]:
    sources: dict[str, FrameSource] = {}
    for path in sorted(root.glob("cam*")):
        if path.suffix.lower() in VIDEO_SUFFIXES and CAMERA_NAME.fullmatch(path.stem):
            if path.stem in sources:
                raise SceneError(f"{path}: {path.stem} has another video with a different ending; keep one")
            sources[path.stem] = probe_video(path)
    return sources


def _named_videos(root: Path, names: Collection[str]) -> dict[str, FrameSource]:
    sources: dict[str, FrameSource] = {}
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.stem in names:
            if path.stem in sources:
                raise SceneError(f"{path}: {path.stem} has another video with a different ending; keep one")
            sources[path.stem] = probe_video(path)
    return sources


def _named_images(root: Path, names: Collection[str]) -> dict[str, FrameSource]:
    folders = {path.name: path for path in root.iterdir() if path.is_dir() and path.name in names}
    images = {name: numbered_images(folder) or named_frames(folder) for name, folder in folders.items()}
    return {name: probe_images(paths) for name, paths in images.items() if paths}


def _colmap_images(root: Path) -> dict[str, FrameSource]:
    numbered: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for folder in sorted(root.glob("colmap_*/images")):
        number = folder.parent.name.removeprefix("colmap_")
        if number.isdecimal():
            for path in images_of(folder):
                if CAMERA_NAME.fullmatch(path.stem):
                    numbered[path.stem].append((int(number), path))
    return {name: probe_images(keyed_images(pairs)) for name, pairs in numbered.items()}


# In order of preference: full-size images as Ex4DGS and MoE-GS read them, then the videos themselves, then what
# 4DGaussians (shrunk), E-D3DGS and STG extract from the videos, and what 4DGaussians reads of other rigs.
FINDERS: dict[str, Callable[[Path], dict[str, FrameSource]]] = {
    "camXX/<number>.png": _images_in("cam*", camera=0),
    "camXX.mp4": _videos,
    "camXX/images/<number>.png": _images_in("cam*/images", camera=0),
    "images/camXX/<number>.png": _images_in("images/cam*", camera=1),
    "colmap_<number>/images/camXX.png": _colmap_images,
    "camXX/frame_<number>.jpg": _images_in("cam*", camera=0, images=named_frames),
}
# Of cameras with names of their own, which a COLMAP model tells.
NAMED_FINDERS: dict[str, Callable[[Path, Collection[str]], dict[str, FrameSource]]] = {
    "<camera>.mp4": _named_videos,
    "<camera>/<number>.png": _named_images,
}
