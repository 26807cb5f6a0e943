"""The pictures of an expert that has no Gaussians: found, compared with the scene, and decoded as its frames are."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from common import ranks
from common.text.wording import counted, first_and_more
from engine.errors import ConfigError
from experts import EXPERTS
from experts.base import CheckpointError, Expert, Provenance
from experts.videos.model import Videos
from router import kind_of
from scenes import Scene, View
from scenes.frames.cache.record import ViewFrames
from scenes.frames.cache.whole import FrameCache
from scenes.frames.sources import FrameSource
from scenes.frames.video import Video
from scenes.layouts.n3v.frames import NAMED_FINDERS
from scenes.types import ResizeFilter


def give_pictures(
    expert: Videos, scene: Scene, folder: Path, *, cache: Path, resize: ResizeFilter, progress: bool
) -> None:
    """Gives an expert the pictures in its folder of all cameras of a scene; nothing is decoded yet.

    cache: folder of the decoded pictures. CheckpointError where a camera has none or two, where they are the scene's
    own footage, and where sizes or numbers of frames are not the scene's.
    """
    names = [view.name for view in scene.views]
    found = _found(folder, names)
    if missing := [name for name in names if name not in found]:
        raise CheckpointError(
            f"{folder}: {expert.name} has no pictures of {_named(scene, missing)}; each of the scene's "
            f"{counted(len(names), 'camera')} needs a video or a folder of images called as it is, for example "
            f"{missing[0]}.mp4 or {missing[0]}/00000.png"
        )
    frames = []
    for view in scene.views:
        source = found[view.name]
        _check_other(source, scene, view.name)
        _check_count(source, scene, view.name)
        _check_size(source, scene, view)
        frames.append(
            ViewFrames(
                name=view.name,
                source=source,
                start=source.first,
                count=scene.num_frames,
                width=view.camera.width,
                height=view.camera.height,
                resize=resize,
            )
        )
    files = [path for each in frames for path in each.source.files(each.start, each.count)]
    said = f"pictures of {counted(len(names), 'camera')} in {folder}"
    expert.show(
        {view.name: view.camera for view in scene.views},
        FrameCache(cache, frames, root=folder, progress=progress),
        num_frames=scene.num_frames,
        provenance=Provenance(files=tuple(files), iteration=0, notes=(said,)),
    )


def decode_pictures(experts: Iterable[Expert]) -> None:
    """Makes sure that experts' pictures are decoded, if they have some; of several ranks, by the first."""
    with_pictures = [expert for expert in experts if isinstance(expert, Videos)]
    if with_pictures:
        with ranks.first_then_others():
            for expert in with_pictures:
                expert.prepare()


def refuse_pictures(experts: Iterable[str], reason: str) -> None:
    """Raises ConfigError naming the first of some experts, by name, that has pictures and no Gaussians.

    reason: why that cannot be, with what to do.
    """
    for name in experts:
        kind = EXPERTS.get(kind_of(name))
        if kind is not None and kind.pictures:
            raise ConfigError(f"{name} has pictures of the scene's cameras, and no Gaussians: {reason}")


def _found(folder: Path, names: Sequence[str]) -> dict[str, FrameSource]:
    """Videos and folders of images of cameras; CheckpointError where a camera has both."""
    found: dict[str, FrameSource] = {}
    for find in NAMED_FINDERS.values():
        sources: Mapping[str, FrameSource] = find(folder, names)
        if twice := sorted(found.keys() & sources.keys()):
            raise CheckpointError(f"{folder}: {twice[0]} has a video and a folder of images; keep one")
        found |= sources
    return found


def _named(scene: Scene, names: Sequence[str]) -> str:
    """Names of cameras, the held-out ones among them marked."""
    held_out = {scene.views[view].name for view in scene.test}
    return first_and_more([f"{name} (held out)" if name in held_out else name for name in names])


def _check_other(source: FrameSource, scene: Scene, name: str) -> None:
    own = scene.sources.get(name)
    if own is None:
        return
    path, recorded = source.files(source.first, 1)[0], own.files(scene.start, 1)[0]
    if path.resolve() == recorded.resolve() or _same_bytes(path, recorded):
        raise CheckpointError(
            f"{path}: is the scene's own footage of {name}, by which the mixture is scored; give what another method "
            "rendered"
        )


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)


def _check_count(source: FrameSource, scene: Scene, name: str) -> None:
    count, wanted = source.run(source.first), scene.num_frames
    has = f"{_place(source)}: has {counted(count, 'frame')}, and the clip {wanted:,}"
    if count < wanted and source.first + count <= source.last:
        raise CheckpointError(f"{_place(source)}: image {source.first + count} is missing; render all frames of {name}")
    if count < wanted:
        raise CheckpointError(f"{has}; render all frames of {name}, or shorten the clip with --duration")
    if scene.start > 0 and count != wanted:
        raise CheckpointError(
            f"{has} from frame {scene.start} on: its first one has to be that frame; cut it to the frames of the clip"
        )


def _check_size(source: FrameSource, scene: Scene, view: View) -> None:
    recorded = scene.sources.get(view.name)
    fitting = [(view.camera.width, view.camera.height), *([(recorded.width, recorded.height)] if recorded else [])]
    if (source.width, source.height) not in fitting:
        sizes = " or ".join(f"{width}x{height}" for width, height in dict.fromkeys(fitting))
        raise CheckpointError(
            f"{_place(source)}: {source.width}x{source.height} px, and {view.name} of this scene has {sizes}; render "
            "it at this size, or give the --resolution that it was rendered at"
        )


def _place(source: FrameSource) -> Path:
    """The video, or the folder of the images."""
    first = source.files(source.first, 1)[0]
    return first if isinstance(source, Video) else first.parent
