"""Files of other trainers: FreeTimeGS++'s gaussians.pt, FreeTimeGsVanilla's ckpt_N.pt and `.ftgs.ply`.

Their times are seconds, or parts of the clip; models here count frames. `plusplus_files.py` reads gaussians.pt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from experts.base import CheckpointError, LoadOptions, Provenance
from experts.canonical.files import read_canonical
from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.ply import PlyTable, read_comments, read_ply, select
from experts.formats.torch_files import load_tensors
from experts.freetime.columns import LOG_DURATION, TIME, VELOCITY
from experts.freetime.model import FreeTime
from experts.freetime.plusplus_files import PLUSPLUS_FILE, load_plusplus
from experts.freetime.recipe import LifeSettings
from experts.freetime.splat_tables import gaussian_shapes, gaussians_of, row_count, tensors_of

FTGS_ENDING = ".ftgs.ply"
_LEAST_DURATION = 0.02  # FreeTimeGsVanilla: of the clip, where the file does not say
_UNSAID = {"time_units": "normalized", "use_velocity": 1, "min_duration": _LEAST_DURATION}  # where comments are silent
_BELL = LifeSettings(still=False, has_gate=False)
_CKPT = re.compile(r"^ckpt_(\d+)(?:_rank\d+)?\.pt$")


def find_foreign(path: Path, iteration: int | None) -> Path | None:
    """The foreign file that a path means: itself, or the one in a folder without point_cloud; None where there is none.

    iteration: of ckpt_N.pt, None for the highest; CheckpointError where another is there.
    """
    if path.is_file():
        return path
    if (path / "point_cloud").exists() or not path.is_dir():
        return None
    if (path / PLUSPLUS_FILE).is_file():
        return path / PLUSPLUS_FILE
    found = {int(match[1]): entry for entry in sorted(path.iterdir()) if (match := _CKPT.match(entry.name))}
    if found:
        number = max(found) if iteration is None else iteration
        if number not in found:
            raise CheckpointError(f"{path}: no ckpt_{number}.pt; available: {', '.join(map(str, sorted(found)))}")
        return found[number]
    return next(iter(sorted(path.glob(f"*{FTGS_ENDING}"))), None)


def load_foreign(path: Path, options: LoadOptions) -> FreeTime:
    """The model in a foreign file, which its name tells; raises CheckpointError."""
    if path.name == PLUSPLUS_FILE:
        return load_plusplus(path, num_frames=_known_frames(options))
    if match := _CKPT.match(path.name):
        return _load_vanilla(path, options, iteration=int(match[1]))
    if path.name.endswith(FTGS_ENDING):
        return load_ftgs_table(read_ply(path), iteration=0, options=options)
    raise CheckpointError(
        f"{path}: no file of this expert; give {PLUSPLUS_FILE}, ckpt_N.pt, *{FTGS_ENDING} or a folder"
    )


def load_ftgs_table(table: PlyTable, *, iteration: int, options: LoadOptions, notes: tuple[str, ...] = ()) -> FreeTime:
    """The model in an `.ftgs.ply`, whose comments say how long the clip and the least life are.

    Comments that are not there are named in a note; they change the picture.
    """
    said = dict(comment.split(maxsplit=1) for comment in read_comments(table.path) if " " in comment)
    if said.get("time_units", "normalized") != "normalized":
        raise CheckpointError(f"{table.path}: time_units {said['time_units']}, only normalized can be read; convert it")
    frames, source = _frames(table.path, _number(said, "n_frames", table.path), options)
    unsaid = {name: preset for name, preset in _UNSAID.items() if name not in said}
    if unsaid:
        presets = ", ".join(f"{name} {preset}" for name, preset in unsaid.items())
        notes = (*notes, f"warning: the comments of {table.path.name} do not say all; taken for granted: {presets}")
    velocities = select(table, VELOCITY)
    return _of_clip(
        gaussians=read_canonical(table),
        times=select(table, TIME).squeeze(1),
        log_durations=select(table, LOG_DURATION).squeeze(1),
        velocities=torch.zeros_like(velocities) if said.get("use_velocity") in ("0", "False") else velocities,
        least=_number(said, "min_duration", table.path, _LEAST_DURATION) or 0.0,
        num_frames=frames,
        provenance=Provenance(files=(table.path,), iteration=iteration, notes=(f"{frames} frames ({source})", *notes)),
    )


def _load_vanilla(path: Path, options: LoadOptions, *, iteration: int) -> FreeTime:
    content = load_tensors(path, trust=options.trust_checkpoint)
    splats = content.get("splats") if isinstance(content, Mapping) else None
    if not isinstance(splats, Mapping):
        raise CheckpointError(f"{path}: holds no table splats; is it a ckpt_N.pt of FreeTimeGsVanilla?")
    frames, source = _frames(path, None, options)
    count = row_count(splats, "means", path)
    flat = dict.fromkeys(("times", "durations"), (count,))
    tensors = tensors_of(splats, {**gaussian_shapes(count), **flat, "velocities": (count, 3)}, path)
    return _of_clip(
        gaussians=gaussians_of(splats, tensors, names=("sh0", "shN"), path=path),
        times=tensors["times"],
        log_durations=tensors["durations"],
        velocities=tensors["velocities"],
        least=_LEAST_DURATION,
        num_frames=frames,
        provenance=Provenance(
            files=(path,),
            iteration=iteration,
            notes=(f"{frames} frames ({source})", "FreeTimeGsVanilla's checkpoint"),
        ),
    )


def _of_clip(
    *,
    gaussians: CanonicalGaussians,
    times: Tensor,
    log_durations: Tensor,
    velocities: Tensor,
    least: float,
    num_frames: int,
    provenance: Provenance,
) -> FreeTime:
    """A model whose time is 0 at the clip's first frame and 1 at its last, counted in frames."""
    last = max(1, num_frames - 1)
    least_log = math.log(least) if least > 0 else -math.inf
    return FreeTime(
        gaussians=gaussians,
        times=times * last,
        widths=log_durations.clamp(min=least_log) + math.log(last),
        velocities=velocities / last,
        gates=torch.zeros_like(times),
        settings=_BELL,
        num_frames=num_frames,
        provenance=provenance,
    )


def _number(said: Mapping[str, str], name: str, path: Path, preset: float | None = None) -> float | None:
    """A number in a file's comments; CheckpointError where it is none."""
    if name not in said:
        return preset
    try:
        value = float(said[name])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise CheckpointError(f"{path}: {name} is {said[name]!r}, a number expected; mend the file's comment")
    return value


def _known_frames(options: LoadOptions) -> int | None:
    return options.expert_frames or options.trained_frames or options.num_frames


def _frames(path: Path, stored: float | None, options: LoadOptions) -> tuple[int, str]:
    """Frames of the clip by which a file's time is divided, and who says so; CheckpointError where nobody does."""
    if stored:
        return int(stored), "from its comments"
    known = _known_frames(options)
    if known is None:
        raise CheckpointError(
            f"{path}: its time is a part of the clip, and nothing says how long that is; give a scene"
        )
    return known, "from the run"
