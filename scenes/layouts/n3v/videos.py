"""Preparation of any folder of synchronised videos, or folders of images, whose cameras are unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from moegs_rasterizer import Camera

from common.text.progress import tracked
from scenes.calibration.colmap_model import read_colmap_cameras
from scenes.calibration.poses_bounds import POSES
from scenes.frames.clip import Clip, choose_clip
from scenes.frames.sources import FrameSource
from scenes.layouts.n3v.naming import named_cameras, probe, undone_where_refused
from scenes.layouts.n3v.transforms_json import TRANSFORMS, written_transforms
from scenes.options import SceneOptions
from scenes.preparation.frames import ImagesByFrame, written_frames
from scenes.preparation.options import VideosOptions, check_options
from scenes.preparation.report import PreparedCloud, PrepareReport
from scenes.preparation.rig import CameraMotion, described_motion, motion_of, size_notes
from scenes.preparation.sfm.attempts import CloudReport
from scenes.preparation.sfm.models import (
    PYCOLMAP,
    Sfm,
    model_outputs,
    prepared_clouds,
    prepared_model,
    prepared_models,
    wanted_frames,
    whole_images,
)
from scenes.preparation.steps import PreparationStep, Workbench, opened
from scenes.preparation.trainer_folders import link_trainer_folders, n3v_trainer_notes, trainer_folder_outputs
from scenes.types import SceneError

_VERSION = 1


def prepare_videos(root: Path, options: VideosOptions, *, sfm: Sfm = PYCOLMAP) -> PrepareReport:
    """Make cameras, COLMAP models and point clouds of a rig, from its videos alone, in the layout of N3V.

    Structure from motion runs on one frame; other frames are triangulated with the cameras it finds. What an earlier
    run left and is still right is kept. SceneError, with no names or cameras left behind, where footage is missing or
    damaged, a camera moves, cameras are not found, the result is poor or the disk full.
    """
    check_options(root, options)
    with opened(root) as bench, undone_where_refused(bench):
        bench.refuse_strangers([POSES])
        paths, notes = named_cameras(bench, options.leave_out)
        sources = {name: probe(path) for name, path in paths.items()}
        clip = choose_clip(sources, SceneOptions(cache=bench.folder, start=options.start, end=options.end))
        notes += [*clip.notes, *size_notes(sources)]
        numbers = wanted_frames(clip, options.every)
        mapped_frame = _mapped_frame(clip, options)
        claimed = [POSES, *model_outputs({*numbers, mapped_frame}), *trainer_folder_outputs(sources, options)]
        bench.refuse_strangers([*claimed, *(TRANSFORMS if options.upstream_moegs else ())])
        notes += _still_cameras(bench, paths, sources, clip, options)
        images = _images(bench, sources, clip, {*numbers, mapped_frame}, options)
        first = _mapped(bench, mapped_frame, images[mapped_frame], options, sfm)
        cameras = read_colmap_cameras(first.model)
        notes += _lost_cameras(paths, cameras, options)
        chosen = {number: images[number] for number in numbers}
        clouds, remarks = _clouds(bench, first, chosen, cameras, start=clip.start, options=options, sfm=sfm)
        notes += remarks
        sizes = prepared_clouds(bench, clip.start, sfm)
        bench.run(_poses(first, sfm))
        link_trainer_folders(bench, images, clip, options)
        notes += n3v_trainer_notes(clip, options)
        if options.upstream_moegs:
            notes += written_transforms(bench, cameras, clip)
    return PrepareReport(
        kind="videos",
        root=root,
        steps=tuple(bench.reports),
        cameras=cameras,
        images=images[clip.start],
        start=clip.start,
        frames=clip.count,
        clouds=tuple(clouds),
        cloud_sizes=sizes,
        repaired=(),
        notes=tuple(notes),
    )


def _mapped_frame(clip: Clip, options: VideosOptions) -> int:
    frame = clip.start if options.mapped_frame is None else options.mapped_frame
    if not clip.start <= frame < clip.start + clip.count:
        raise SceneError(
            f"frame {frame} is to be mapped, but the clip has {clip.start} to {clip.start + clip.count - 1}; choose one"
        )
    return frame


def _still_cameras(
    bench: Workbench,
    paths: Mapping[str, Path],
    sources: Mapping[str, FrameSource],
    clip: Clip,
    options: VideosOptions,
) -> list[str]:
    """Remarks on cameras that could not be judged; SceneError where some move."""
    if clip.count < 2:
        return ["a clip of one frame does not tell whether cameras move"]
    motions: dict[str, CameraMotion] = {}
    for name in tracked(sources, "Looking for moving cameras", unit="camera", shown=options.progress):
        motions[name] = CameraMotion(**bench.run(_judging(name, paths[name], sources[name], clip)))
    moving = [
        f"{_with_footage(name, paths[name])} ({described_motion(motion)})"
        for name, motion in motions.items()
        if motion.moves
    ]
    if moving and not options.accept_moving:
        raise SceneError(
            f"{bench.root}: {len(moving)} of {len(motions)} cameras move: {'; '.join(moving[:3])}; only rigs of still "
            "cameras are supported: leave these out (--leave_out), or go on all the same (--accept_moving)"
        )
    notes = [f"moves, and is used all the same: {camera}" for camera in moving]
    unknown = [name for name, motion in motions.items() if not motion.judged]
    return notes + ([f"too little texture to tell whether they are still: {', '.join(unknown)}"] if unknown else [])


def _with_footage(name: str, path: Path) -> str:
    """A camera's name, with that of its video where the two differ: --leave_out takes the latter."""
    footage = path.resolve().name
    return name if Path(footage).stem == name else f"{name} = {footage}"


def _judging(name: str, path: Path, source: FrameSource, clip: Clip) -> PreparationStep:
    return PreparationStep(
        name=f"still_{name}",
        version=_VERSION,
        inputs=[path],
        options={"start": clip.start, "count": clip.count},
        outputs=[],
        make=lambda scratch: asdict(motion_of(source, clip)),
    )


def _images(
    bench: Workbench, sources: Mapping[str, FrameSource], clip: Clip, needed: set[int], options: VideosOptions
) -> ImagesByFrame:
    everything = set(range(clip.start, clip.start + clip.count))
    return written_frames(bench, sources, sorted(everything if options.frames == "all" else needed), options)


def _mapped(
    bench: Workbench, frame: int, images: Mapping[str, Path], options: VideosOptions, sfm: Sfm
) -> PreparedCloud:
    """`colmap_<frame>` by structure from motion."""

    def find(target: Path) -> CloudReport:
        return sfm.mapped(whole_images(images), target, options.sfm)

    return prepared_model(
        bench, frame, list(images.values()), settings={"cameras": "unknown"}, options=options, find=find
    )


def _lost_cameras(paths: Mapping[str, Path], cameras: Mapping[str, Camera], options: VideosOptions) -> list[str]:
    lost = [_with_footage(name, path) for name, path in paths.items() if name not in cameras]
    if not lost:
        return []
    if not options.sfm.accept_poor:
        raise SceneError(
            f"{len(cameras)} of {len(paths)} cameras found, not {', '.join(lost)}: choose another frame "
            "(--mapped_frame), leave their videos out (--leave_out), or go on without them (--accept_poor)"
        )
    return [f"not found and not used: {', '.join(lost)}; {POSES} has no row for them"]


def _clouds(
    bench: Workbench,
    first: PreparedCloud,
    images: ImagesByFrame,
    cameras: Mapping[str, Camera],
    *,
    start: int,
    options: VideosOptions,
    sfm: Sfm,
) -> tuple[Sequence[PreparedCloud], list[str]]:
    others = {
        number: {name: files[name] for name in cameras} for number, files in images.items() if number != first.frame
    }
    made, remarks = prepared_models(bench, others, cameras, options, sfm, start=start)
    return sorted([first, *made], key=lambda cloud: cloud.frame), remarks


def _poses(first: PreparedCloud, sfm: Sfm) -> PreparationStep:
    return PreparationStep(
        name="poses",
        version=_VERSION,
        inputs=[first.model],
        options={},
        outputs=[POSES],
        make=lambda scratch: sfm.poses_bounds_from(first.model, scratch / POSES),
    )
