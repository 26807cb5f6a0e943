"""Preparation of the Neural 3D Video layout: camXX.mp4 and poses_bounds.npy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moegs_rasterizer import Camera

from common.text.wording import counted, script_command
from scenes.calibration.cameras import fitted, scaled
from scenes.calibration.poses_bounds import POSES, read_poses_bounds
from scenes.frames.clip import Clip, choose_clip
from scenes.frames.sources import FrameSource
from scenes.frames.video import Video
from scenes.layouts.n3v.frames import FINDERS, find_frames, natural
from scenes.layouts.n3v.transforms_json import TRANSFORMS, written_transforms
from scenes.options import SceneOptions
from scenes.preparation.frames import image_size, written_frames
from scenes.preparation.options import PrepareOptions, check_options
from scenes.preparation.report import PrepareReport
from scenes.preparation.rig import size_notes
from scenes.preparation.sfm.models import (
    PYCOLMAP,
    Sfm,
    model_outputs,
    prepared_clouds,
    prepared_models,
    wanted_frames,
)
from scenes.preparation.steps import Workbench, opened
from scenes.preparation.trainer_folders import link_trainer_folders, n3v_trainer_notes, trainer_folder_outputs
from scenes.types import SceneError


def prepare_n3v(root: Path, options: PrepareOptions, *, sfm: Sfm = PYCOLMAP) -> PrepareReport:
    """Make images, COLMAP models and point clouds of an N3V scene, from its videos and `poses_bounds.npy`.

    What an earlier run left and is still right is kept. SceneError, with nothing half-written, where footage or cameras
    are missing or damaged, do not fit each other, the result is poor or the disk full.
    """
    check_options(root, options)
    with opened(root) as bench:
        sources, clip, notes = _footage(bench, options)
        cameras = _cameras(root, sources, options)
        numbers = wanted_frames(clip, options.every)
        claimed = [*model_outputs(numbers), *trainer_folder_outputs(sources, options)]
        bench.refuse_strangers([*claimed, *(TRANSFORMS if options.upstream_moegs else ())])
        written = range(clip.start, clip.start + clip.count) if options.frames == "all" else numbers
        images = written_frames(bench, sources, written, options)
        chosen = {number: images[number] for number in numbers}
        clouds, remarks = prepared_models(bench, chosen, cameras, options, sfm, start=clip.start)
        notes += remarks
        sizes = prepared_clouds(bench, clip.start, sfm)
        link_trainer_folders(bench, images, clip, options)
        notes += n3v_trainer_notes(clip, options)
        if options.upstream_moegs:
            notes += written_transforms(bench, cameras, clip)
    return PrepareReport(
        kind="n3v",
        root=root,
        steps=tuple(bench.reports),
        cameras=cameras,
        images=images[clip.start],
        start=clip.start,
        frames=clip.count,
        clouds=tuple(clouds),
        cloud_sizes=sizes,
        repaired=(),
        notes=(*notes, *_written_notes(sources, options)),
    )


def _footage(bench: Workbench, options: PrepareOptions) -> tuple[dict[str, FrameSource], Clip, list[str]]:
    """Videos where there are some, else images; images in camXX that no preparation wrote go before videos."""
    wanted = SceneOptions(cache=bench.folder, start=options.start, end=options.end)
    videos = FINDERS["camXX.mp4"](bench.root)
    images = FINDERS["camXX/<number>.png"](bench.root)
    owned = bench.owned()
    foreign = any(
        path.relative_to(bench.root).as_posix() not in owned
        for source in images.values()
        for path in source.files(source.first, source.run(source.first))
    )
    if not videos:
        sources, clip, notes = find_frames(bench.root, wanted)
        return sources, clip, [*notes, *size_notes(sources)]
    if not foreign:
        sources, label = videos, "camXX.mp4"
    elif set(images) == set(videos):
        sources, label = images, "camXX/<number>.png, found there and used as they are"
    else:
        raise SceneError(
            f"{bench.root}: videos of {counted(len(videos), 'camera')}, but images in camXX/ of {len(images)}, which "
            "no earlier preparation wrote; move the images away or complete them"
        )
    sources = {name: sources[name] for name in sorted(sources, key=natural)}
    clip = choose_clip(sources, wanted)
    return sources, clip, [f"frames from {label}", *clip.notes, *size_notes(sources)]


def _cameras(root: Path, sources: Mapping[str, FrameSource], options: PrepareOptions) -> dict[str, Camera]:
    """Cameras of `poses_bounds.npy`, fitted to the images that COLMAP gets."""
    path = root / POSES
    if not path.is_file():
        raise SceneError(
            f"{path}: no such file; copy it from the data set, or find the cameras by: "
            + script_command("moegs.py", "prepare", "videos", root)
        )
    cameras = read_poses_bounds(path, list(sources))
    return {
        name: scaled(fitted(name, cameras[name], source.width, source.height), *image_size(source, options))
        for name, source in sources.items()
    }


def _written_notes(sources: Mapping[str, FrameSource], options: PrepareOptions) -> list[str]:
    videos = [source for source in sources.values() if isinstance(source, Video)]
    if not videos or options.frames == "needed":
        return []
    sizes = sorted({image_size(video, options) for video in videos})
    if sizes == sorted({(video.width, video.height) for video in videos}):
        return []
    shown = ", ".join(f"{width}x{height}" for width, height in sizes)
    return [f"camXX/ holds frames of {shown} px, which readers prefer to the videos: train on them with -r 1"]
