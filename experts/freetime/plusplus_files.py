"""FreeTimeGS++'s gaussians.pt: a pickled module, whose times are seconds since the footage's frame 0.

config.toml beside it says how long a frame lasts.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.deferred import deferred
from common.disk.contained import read_text
from experts.base import CheckpointError, Provenance
from experts.formats.torch_files import PickledModule, load_tensors
from experts.freetime.model import FreeTime
from experts.freetime.recipe import LifeSettings
from experts.freetime.splat_tables import gaussian_shapes, gaussians_of, row_count, tensors_of

tomllib = deferred("tomllib")  # of Python 3.11

PLUSPLUS_FILE, CONFIG_FILE = "gaussians.pt", "config.toml"
_PLUSPLUS_CLASS = "ftgspp.models.gaussians.Gaussians"
_SHARPNESS = 20.0  # of its gates
_NO_GATE = -100.0  # raw, in models without
_LONGEST_SHARE = 1 / 6  # the longest standard deviation over max_duration
_FRAMES = 300  # of a clip where nothing says it, and rendering needs no number


def load_plusplus(path: Path, *, num_frames: int | None) -> FreeTime:
    """The model in a gaussians.pt; raises CheckpointError.

    num_frames: of the clip; None where nothing says it.
    """
    module = _read_module(path)
    fps, start = _footage(path.parent / CONFIG_FILE)
    stored = getattr(module, "_parameters", None)
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"{path}: its module has no parameters; damaged file?")
    if stored.get("velocity_model") is None:
        raise _network_refused(path)
    count = row_count(stored, "means", path)
    flat = dict.fromkeys(("times", "durations", "marginal_gates"), (count,))
    tensors = tensors_of(stored, {**gaussian_shapes(count), **flat, "velocity_model": (count, 3)}, path)
    longest = getattr(module, "max_duration", None)
    if longest is not None and not (isinstance(longest, int | float) and longest > 0):
        raise CheckpointError(f"{path}: max_duration is {longest!r}, a positive number expected; damaged file?")
    limited = longest is not None and math.isfinite(longest)
    limit = float(longest) * _LONGEST_SHARE * fps if limited else None  # type: ignore[arg-type]
    gates = tensors["marginal_gates"]
    return FreeTime(
        gaussians=gaussians_of(stored, tensors, names=("sh_0", "sh_n"), path=path),
        times=(tensors["times"].double() * fps - start).float(),
        widths=tensors["durations"] + (0.0 if limited else math.log(fps)),
        velocities=tensors["velocity_model"] / fps,
        gates=gates,
        settings=LifeSettings(limit=limit, sharpness=_SHARPNESS, still=False, has_gate=bool((gates > _NO_GATE).any())),
        num_frames=num_frames or _FRAMES,
        provenance=Provenance(
            files=(path, path.parent / CONFIG_FILE),
            iteration=0,
            notes=(f"{fps:g} frames a second, first frame {start} (from {CONFIG_FILE})", "FreeTimeGS++'s module"),
        ),
    )


def _read_module(path: Path) -> PickledModule:
    """The pickled module as its attributes; its class is never looked for, nor is any other (whatever is trusted)."""
    try:
        module = load_tensors(path, modules=[_PLUSPLUS_CLASS])
    except CheckpointError as fault:
        if "tinycudann" in str(fault):
            raise _network_refused(path) from fault
        what, of_trust, _ = str(fault).partition("; if you trust")
        raise CheckpointError(f"{what}; get the file again from its source" if of_trust else what) from fault
    if not isinstance(module, PickledModule):
        raise CheckpointError(f"{path}: holds a {type(module).__name__}, not FreeTimeGS++'s module; check the path")
    return module


def _network_refused(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: its velocities are a network (tinycudann), only a table of velocities can be read; "
        "export the velocities as a tensor, or train with a table"
    )


def _footage(path: Path) -> tuple[float, int]:
    """Frames a second and the clip's first frame of FreeTimeGS++'s config.toml."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; it lies beside {PLUSPLUS_FILE} and says how long a frame lasts")
    if sys.version_info < (3, 11):
        raise CheckpointError(f"{path}: reading TOML needs Python 3.11 or newer")
    try:
        data = tomllib.loads(read_text(path)).get("data", {})
    except (ValueError, RecursionError) as fault:
        raise CheckpointError(f"{path}: no TOML ({str(fault).splitlines()[0]}); copy it again") from fault
    data = data if isinstance(data, dict) else {}
    frames = data.get("frames")
    frames = frames if isinstance(frames, dict) else {}
    fps, start = data.get("fps"), frames.get("start", 0)
    if not _is_number(fps) or not 0 < fps < math.inf:
        raise CheckpointError(f"{path}: data.fps is {fps!r}, a positive number expected; mend it")
    if not isinstance(start, int) or isinstance(start, bool):
        raise CheckpointError(f"{path}: data.frames.start is {start!r}, a whole number expected; mend it")
    return float(fps), start


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
