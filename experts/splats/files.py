"""Splats' files: `.4dgs`, PLY files of every frame, and model folders as all experts have them."""

from __future__ import annotations

from pathlib import Path

import torch
from moegs_rasterizer import RasterSettings
from torch import Tensor

from common.text.wording import counted
from experts.base import CheckpointError, LoadOptions, Provenance
from experts.canonical.files import (
    CLIP_LENGTH,
    CLOUD_FILE,
    append_routed,
    cfg_args_file,
    read_canonical,
    write_canonical,
)
from experts.formats.cfg_args import write_cfg_args
from experts.formats.columns import numbered
from experts.formats.folders import find_iteration
from experts.formats.ply import read_ply, select
from experts.formats.settings import CheckpointSettings, background_setting
from experts.splats.container import read_timed
from experts.splats.frame_files import frame_files, read_sequence
from experts.splats.model import Splats

ENDING = ".4dgs"
TIME, WIDTH, VELOCITY, WINDOW = (
    ("splat_time",),
    ("splat_width",),
    numbered("splat_velocity_", 3),
    ("splat_first", "splat_end"),
)
LASTING = -1.0  # in the column of widths: a splat that does not fade, since tables hold finite numbers
NEAR, LOW_PASS = "near", "low_pass"
_FRAMES = 300  # of the clip where nothing says it


def load_splats(path: Path, options: LoadOptions) -> Splats:
    """Splats from a `.4dgs` file, from a folder with one or with a PLY file for each frame, or from a model folder.

    Raises CheckpointError for files that cannot be read, and for fewer frames than the clip has.
    """
    if path.is_file() and path.suffix.lower() != ENDING:
        raise CheckpointError(f"{path}: give a {ENDING} file, or the folder of PLY files of all frames")
    if path.is_dir() and (path / "point_cloud").is_dir():
        return _load_model(path, options)
    containers = [path] if path.is_file() else sorted(path.glob(f"*{ENDING}"))
    if len(containers) > 1:
        names = ", ".join(each.name for each in containers)
        raise CheckpointError(f"{path}: has {len(containers)} {ENDING} files ({names}); give one of them")
    if containers:
        return _read_container(containers[0], options)
    splats = _read_frames(path)
    _require_frames(path, splats, options, has=counted(splats.num_frames, "frame"))
    return splats


def _require_frames(path: Path, splats: Splats, options: LoadOptions, *, has: str) -> None:
    """Raises CheckpointError where splats have fewer frames than the clip. has: their frames, for the message."""
    if options.num_frames is not None and splats.num_frames < options.num_frames:
        raise CheckpointError(
            f"{path}: has {has}, and the clip {options.num_frames:,}; give a shorter clip with --duration, or all "
            "frames"
        )


def save_splats(expert: Splats, folder: Path, iteration: int) -> None:
    """Writes a model folder: point_cloud.ply with the columns of 3DGS and those of time, and cfg_args."""
    given = [
        *((TIME, expert.times), (WIDTH, torch.where(expert.widths.isfinite(), expert.widths, LASTING))),
        *((VELOCITY, expert.velocities), (WINDOW, expert.windows)),
    ]
    names = tuple(name for own, _ in given for name in own)
    columns = torch.cat([values.detach().view(expert.num_gaussians, -1) for _, values in given], dim=1)
    target = folder / "point_cloud" / f"iteration_{iteration}" / CLOUD_FILE
    write_canonical(target, expert.gaussians, extra=(names, columns))
    known = {CLIP_LENGTH: expert.num_frames, NEAR: expert.settings.near, LOW_PASS: expert.settings.low_pass}
    write_cfg_args(folder, known | background_setting(expert.background, white=False))


def write_routed_splats(expert: Splats, folder: Path, iteration: int, weights: Tensor) -> None:
    """Writes a model folder with the router's weights [n, 3] (base, directional, temporal) as columns."""
    save_splats(expert, folder, iteration)
    append_routed(folder, iteration, weights)


def _load_model(path: Path, options: LoadOptions) -> Splats:
    settings = CheckpointSettings(path)
    iteration, folder = find_iteration(path, options.iteration)
    table = read_ply(folder / CLOUD_FILE)
    widths = select(table, WIDTH).squeeze(1)
    raster = RasterSettings(
        near=settings.number(NEAR, RasterSettings().near), low_pass=settings.number(LOW_PASS, RasterSettings().low_pass)
    )
    return Splats(
        gaussians=read_canonical(table),
        times=select(table, TIME).squeeze(1),
        widths=torch.where(widths == LASTING, torch.inf, widths),
        velocities=select(table, VELOCITY),
        windows=select(table, WINDOW),
        num_frames=int(settings.number(CLIP_LENGTH, _FRAMES, above=0)),
        settings=raster,
        background=settings.background(white=False),
        provenance=Provenance(
            files=(*cfg_args_file(settings), table.path), iteration=iteration, notes=tuple(settings.notes)
        ),
    )


def _read_container(path: Path, options: LoadOptions) -> Splats:
    splats, timing = read_timed(path, num_frames=options.num_frames, frame_rate=options.frame_rate)
    has, clip = f"{counted(splats.num_frames, 'frame')} ({timing.told})", options.num_frames
    _require_frames(path, splats, options, has=has)
    notes = [f"{has}, {counted(splats.num_gaussians, 'splat')}"]
    if timing.by_clip and clip is not None and splats.num_frames > clip:
        notes.append(
            f"warning: has {has}, and the clip {clip:,}: the first {clip:,} are shown; if it is of the whole clip, it "
            "was written with another frame rate: write it again with the clip's"
        )
    splats.provenance = Provenance(files=(path,), iteration=0, notes=tuple(notes))
    return splats


def _read_frames(folder: Path) -> Splats:
    """A sequence of PLY files; a `cfg_args` beside them may say that the background is white."""
    settings = CheckpointSettings(folder)
    splats = read_sequence(frame_files(folder), background=settings.background(white=False))
    files = (*cfg_args_file(settings), *splats.provenance.files)
    notes = (f"{counted(splats.num_frames, 'frame')}, each with splats of its own", *settings.notes)
    splats.provenance = Provenance(files=files, iteration=0, notes=notes)
    return splats
