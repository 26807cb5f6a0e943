"""FreeTime's model folders: point_cloud.ply, which readers of `.ftgs.ply` can show, and cfg_args beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from experts.base import LoadOptions, Provenance
from experts.canonical.files import (
    CLIP_LENGTH,
    CLOUD_FILE,
    append_routed,
    cfg_args_file,
    clip_length,
    read_canonical,
    write_canonical,
)
from experts.formats.cfg_args import write_cfg_args
from experts.formats.folders import find_iteration
from experts.formats.ply import PlyTable, read_ply, select
from experts.formats.settings import CheckpointSettings, background_setting
from experts.freetime.columns import (
    FRAME,
    FRAME_VELOCITY,
    GATE,
    HOLD,
    LOG_DURATION,
    TIME,
    VELOCITY,
    WIDTH,
)
from experts.freetime.foreign_files import find_foreign, load_foreign, load_ftgs_table
from experts.freetime.model import FreeTime
from experts.freetime.switches import SWITCHES, find_life, switch_comments, switch_values

_FRAMES = 300  # length of the clip where nothing says it
_UNKNOWN = (
    f"warning: neither cfg_args nor comments say {', '.join(SWITCHES)}, so the columns for readers of .ftgs.ply are "
    "shown: gates as long lives; for the model itself copy cfg_args beside point_cloud, from where the file comes from"
)
_LONGEST = 1 - 1e-6  # gate above which a Gaussian is as good as always there


def load_freetime(path: Path, options: LoadOptions) -> FreeTime:
    """A FreeTime model from its folder, or from a file of FreeTimeGS++ or FreeTimeGsVanilla or the folder of one.

    A point_cloud.ply without the columns of a training here is read as an `.ftgs.ply`, and so is one of which nothing
    says what these columns mean. Raises CheckpointError.
    """
    foreign = find_foreign(path, options.iteration)
    if foreign is not None:
        return load_foreign(foreign, options)
    settings = CheckpointSettings(path)
    settings.compare_scene(options.scene)
    settings.note_preset()
    iteration, folder = find_iteration(path, options.iteration)
    table = read_ply(folder / CLOUD_FILE)
    if FRAME[0] not in table.names:
        return load_ftgs_table(table, iteration=iteration, options=options)
    life = find_life(settings, table.path)
    if life is None:
        return load_ftgs_table(table, iteration=iteration, options=options, notes=(_UNKNOWN,))
    background = settings.background(white=False)
    expert = FreeTime(
        gaussians=read_canonical(table),
        times=_column(table, FRAME),
        widths=_column(table, WIDTH),
        velocities=select(table, FRAME_VELOCITY),
        gates=_column(table, GATE),
        log_holds=_column(table, HOLD) if life.kernel == "flat" else None,
        settings=life,
        num_frames=clip_length(settings, options, _FRAMES),
        provenance=Provenance(
            files=(*cfg_args_file(settings), table.path), iteration=iteration, notes=tuple(settings.notes)
        ),
    )
    expert.background = background
    return expert


def save_freetime(expert: FreeTime, folder: Path, iteration: int) -> None:
    """Write a model's point_cloud.ply below `folder`, and what its raw columns mean to its comments and cfg_args."""
    names, columns = _extra_columns(expert)
    target = folder / "point_cloud" / f"iteration_{iteration}" / CLOUD_FILE
    comments = (*ftgs_comments(expert.num_frames), *switch_comments(expert.life))
    write_canonical(target, expert.gaussians, extra=(names, columns), comments=comments)
    values = switch_values(expert.life) | {CLIP_LENGTH: expert.num_frames}
    write_cfg_args(folder, values | background_setting(expert.background, white=False))


def write_routed_freetime(expert: FreeTime, folder: Path, iteration: int, weights: Tensor) -> None:
    """Write a model with the router's weights [n, 3] (base, directional, temporal) as columns."""
    save_freetime(expert, folder, iteration)
    append_routed(folder, iteration, weights)


def ftgs_comments(num_frames: int) -> tuple[str, ...]:
    """Comments of an `.ftgs.ply` of version 1, whose time is normalised; nothing is held above a least value."""
    return (
        "ftgs_version 1",
        "time_units normalized",
        "sh_degree 3",
        "use_velocity 1",
        "min_duration 0.0",
        "opacity_floor 0.0",
        f"n_frames {num_frames}",
    )


@torch.no_grad()
def _extra_columns(expert: FreeTime) -> tuple[tuple[str, ...], Tensor]:
    """Give names and values [n, ...] of the columns beside 3DGS's: for readers of `.ftgs.ply`, then ours.

    Those readers know a bell alone: a gate becomes a life that has not faded below it at the clip's far end.
    """
    last = max(1, expert.num_frames - 1)
    velocities: Tensor = expert.velocities
    durations, gates = expert.durations(), expert.gate_values()
    shares = expert.motion_shares(gates)
    if shares is not None:
        velocities = shares[:, None] * velocities
    if expert.log_holds is not None:
        durations = durations + expert.log_holds.exp()
    if gates is not None:
        far = torch.maximum(expert.times.abs(), (last - expert.times).abs())
        lasting = far / (-2 * gates.clamp(1e-30, _LONGEST).log()).sqrt()
        durations = torch.maximum(durations, lasting)
    parts = [
        *((TIME, expert.times / last), (LOG_DURATION, (durations / last).log()), (VELOCITY, velocities * last)),
        *((FRAME, expert.times), (WIDTH, expert.widths), (FRAME_VELOCITY, expert.velocities), (GATE, expert.gates)),
        *(() if expert.log_holds is None else ((HOLD, expert.log_holds),)),
    ]
    names = tuple(name for own, _ in parts for name in own)
    return names, torch.cat([values.detach().view(expert.num_gaussians, -1) for _, values in parts], dim=1)


def _column(table: PlyTable, name: tuple[str, ...]) -> Tensor:
    return select(table, name).squeeze(1)
