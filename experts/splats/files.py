"""Splats' files: `.4dgs`, PLY files of every frame, and model folders as all experts have them."""

from __future__ import annotations

from dataclasses import replace
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
from experts.formats.settings import FIRST_FRAME, CheckpointSettings, background_setting
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

    Raises CheckpointError for files that cannot be read, for none with splats, and for fewer frames than the clip has.
    """
    if path.is_file() and path.suffix.lower() != ENDING:
        raise CheckpointError(f"{path}: give a {ENDING} file, or the folder of PLY files of all frames")
    if path.is_dir() and (path / "point_cloud").is_dir():
        return _load_model(path, options)
    files = [path] if path.is_file() else sorted(path.iterdir())
    containers, plys = ([each for each in files if each.suffix.lower() == ending] for ending in (ENDING, ".ply"))
    if len(containers) > 1:
        names = ", ".join(each.name for each in containers)
        raise CheckpointError(f"{path}: has {len(containers)} {ENDING} files ({names}); give one of them")
    if containers and plys:
        raise CheckpointError(
            f"{path}: has {containers[0].name} and {counted(len(plys), 'PLY file')}; give the {ENDING} file, or a "
            "folder with the others alone"
        )
    splats, has, longer = _read_container(containers[0], options) if containers else _read_frames(path)
    clip = options.num_frames
    if splats.num_gaussians == 0:
        raise CheckpointError(f"{path}: has no splats; write it again, or leave this expert out")
    if clip is not None and splats.num_frames < clip:
        raise CheckpointError(
            f"{path}: has {has}, and the clip {clip:,}; give a shorter clip with --duration, or all frames"
        )
    if clip is not None and splats.num_frames > clip:
        note = f"warning: has {has}, and the clip {clip:,}: the first {clip:,} are shown{longer}"
        splats.provenance = replace(splats.provenance, notes=(*splats.provenance.notes, note))
    return splats


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
    known |= {} if expert.first_frame is None else {FIRST_FRAME: expert.first_frame}
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
        first_frame=_first_frame(settings),
        settings=raster,
        background=settings.background(white=False),
        provenance=Provenance(
            files=(*cfg_args_file(settings), table.path), iteration=iteration, notes=tuple(settings.notes)
        ),
    )


def _read_container(path: Path, options: LoadOptions) -> tuple[Splats, str, str]:
    """Splats of a `.4dgs` file, the frames it has, and what to say where they are more than the clip's."""
    splats, timing = read_timed(path, num_frames=options.num_frames, frame_rate=options.frame_rate)
    has = f"{counted(splats.num_frames, 'frame')} ({timing.told})"
    notes = (f"{has}, {counted(splats.num_gaussians, 'splat')}",)
    splats.provenance = Provenance(files=(path,), iteration=0, notes=notes)
    other_rate = (
        "; if it is of the whole clip, it was written with another frame rate: write it again with the clip's"
        if timing.by_clip
        else ""
    )
    return splats, has, other_rate


def _read_frames(folder: Path) -> tuple[Splats, str, str]:
    """The same of a sequence of PLY files; a `cfg_args` beside them may tell background, near plane and first frame."""
    settings, near = CheckpointSettings(folder), RasterSettings().near
    if settings.stored(NEAR) is not None:
        near = settings.number(NEAR, near, above=0)
    splats = read_sequence(
        frame_files(folder),
        settings=RasterSettings(near=near),
        background=settings.background(white=False),
        first_frame=_first_frame(settings),
    )
    files = (*cfg_args_file(settings), *splats.provenance.files)
    has = counted(splats.num_frames, "frame")
    notes = (f"{has}, each with splats of its own", *settings.notes)
    splats.provenance = Provenance(files=files, iteration=0, notes=notes)
    return splats, has, ""


def _first_frame(settings: CheckpointSettings) -> int | None:
    stored = settings.stored(FIRST_FRAME)
    return stored if isinstance(stored, int) and not isinstance(stored, bool) and stored >= 0 else None
