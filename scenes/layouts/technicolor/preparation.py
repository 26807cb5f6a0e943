"""Preparation of the Technicolor light-field layout: flat PNGs and cameras_parameters.txt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from moegs_rasterizer import Camera

from scenes.frames.clip import Clip, choose_clip
from scenes.frames.image_files import NumberedImages
from scenes.layouts.technicolor.reader import TABLE, find_images, read_camera_table
from scenes.options import SceneOptions
from scenes.preparation.damaged import repaired_images
from scenes.preparation.frames import written_frames
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
from scenes.preparation.steps import opened
from scenes.preparation.trainer_folders import link_trainer_folders, trainer_folder_outputs
from scenes.types import SceneError


def prepare_technicolor(root: Path, options: PrepareOptions, *, sfm: Sfm = PYCOLMAP) -> PrepareReport:
    """Make COLMAP models and point clouds of a Technicolor scene, from its images and `cameras_parameters.txt`.

    All images of the clip are decoded first, and truncated ones repaired. What an earlier run left and is still right
    is kept. SceneError, with nothing half-written, where footage or cameras are missing or damaged beyond repair, do
    not fit each other, the result is poor or the disk full.
    """
    _check_options(root, options)
    with opened(root) as bench:
        sources = find_images(root)
        clip = choose_clip(sources, SceneOptions(cache=bench.folder, start=options.start, end=options.end))
        cameras = _cameras(root, sources)
        numbers = wanted_frames(clip, options.every)
        bench.refuse_strangers([*model_outputs(numbers), *trainer_folder_outputs(sources, options)])
        repaired = repaired_images(bench, _of_clip(sources, clip), progress=options.progress)
        images = written_frames(bench, sources, range(clip.start, clip.start + clip.count), options)
        chosen = {number: images[number] for number in numbers}
        clouds, remarks = prepared_models(bench, chosen, cameras, options, sfm, start=clip.start)
        sizes = prepared_clouds(bench, clip.start, sfm)
        link_trainer_folders(bench, images, clip, options)
    return PrepareReport(
        kind="technicolor",
        root=root,
        steps=tuple(bench.reports),
        cameras=cameras,
        images=images[clip.start],
        start=clip.start,
        frames=clip.count,
        clouds=tuple(clouds),
        cloud_sizes=sizes,
        repaired=repaired,
        notes=(*clip.notes, *size_notes(sources), *remarks),
    )


def _check_options(root: Path, options: PrepareOptions) -> None:
    check_options(root, replace(options, frames="all"))  # all of them are images already
    if options.resolution != 1:
        raise SceneError(f"{root}: the images of the Technicolor layout are used at their own size; leave resolution")
    if options.upstream_moegs or "4dgaussians" in options.trainer_folders:
        raise SceneError(f"{root}: that layout is of N3V scenes only; for Technicolor there is the layout ed3dgs")


def _of_clip(sources: Mapping[str, NumberedImages], clip: Clip) -> dict[str, dict[int, Path]]:
    frames = range(clip.start, clip.start + clip.count)
    return {name: {frame: source.paths[frame] for frame in frames} for name, source in sources.items()}


def _cameras(root: Path, sources: Mapping[str, NumberedImages]) -> dict[str, Camera]:
    path = root / TABLE
    if not path.is_file():
        raise SceneError(f"{path}: no such file; copy it from the data set")
    cameras = read_camera_table(path, sources)
    missing = [name for name in sources if name not in cameras]
    if missing:
        raise SceneError(
            f"{path}: no row for {', '.join(missing)}, only for {', '.join(sorted(cameras)) or 'none'}; complete it"
        )
    return {name: cameras[name] for name in sources}
