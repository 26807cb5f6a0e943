"""Ex4DGS's chkpnt<N>.pth: (capture tuple of 40, iteration), of which the model is 19 entries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experts.base import CheckpointError
from experts.ex4dgs.model import DynamicGaussians, StaticGaussians
from experts.formats.torch_files import load_tensors, require_finite

_ENTRIES = 40
_TIME = {"duration": 19, "interval": 20, "shift": 21}
_STATIC = {  # name: (entry, shape behind the number of Gaussians)
    "means": (1, (3,)),
    "sh_dc": (2, (1, 3)),
    "sh_rest": (3, (15, 3)),
    "log_scales": (4, (3,)),
    "quats": (5, (4,)),
    "opacity_logits": (6, (1,)),
    "displacements": (18, (3,)),
}
_KEYFRAMES = -1
_DYNAMIC = {
    "means": (23, (_KEYFRAMES, 3)),
    "sh_dc": (24, (1, 3)),
    "sh_rest": (25, (15, 3)),
    "log_scales": (26, (3,)),
    "opacity_logits": (27, (1,)),
    "opacity_centres": (28, (2, 1)),
    "opacity_log_widths": (29, (2, 1)),
    "quats": (30, (_KEYFRAMES, 4)),
}
_FLATTENED = ("opacity_logits", "opacity_centres", "opacity_log_widths")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTime:
    """Times in frames that a chkpnt stores; the PLY pair leaves them to cfg_args."""

    duration: float
    interval: float
    shift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """An Ex4DGS model as read from its files."""

    files: tuple[Path, ...]
    iteration: int
    static: StaticGaussians
    dynamic: DynamicGaussians
    time: StoredTime | None = None


def find_chkpnts(folder: Path) -> dict[int, Path]:
    """Iteration -> chkpnt<iteration>.pth of a model folder."""
    matches = ((re.fullmatch(r"chkpnt(\d+)\.pth", entry.name), entry) for entry in folder.glob("chkpnt*.pth"))
    return {int(match.group(1)): entry for match, entry in matches if match}


def read_chkpnt(path: Path, *, trust: bool = False) -> Parts:
    """The model in a chkpnt<N>.pth; optimiser state and statistics are dropped. Raises CheckpointError."""
    content = load_tensors(path, trust=trust)
    if not isinstance(content, tuple) or len(content) != 2 or not isinstance(content[0], tuple):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not (model, iteration); an Ex4DGS chkpnt?")
    capture, iteration = content
    if len(capture) != _ENTRIES:
        raise CheckpointError(
            f"{path}: {len(capture)} entries, Ex4DGS writes {_ENTRIES}; another project's checkpoint?"
        )
    if not isinstance(iteration, int) or not all(_is_positive(capture[entry]) for entry in _TIME.values()):
        times = {name: capture[entry] for name, entry in _TIME.items()}
        raise CheckpointError(
            f"{path}: iteration {iteration!r}, times {times}: positive numbers expected; damaged file?"
        )
    return Parts(
        files=(path,),
        iteration=iteration,
        static=StaticGaussians(**_tensors(path, capture, _STATIC)),
        dynamic=DynamicGaussians(**_tensors(path, capture, _DYNAMIC)),
        time=StoredTime(**{name: capture[entry] for name, entry in _TIME.items()}),
    )


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < float("inf")


def _tensors(
    path: Path, capture: tuple[object, ...], table: dict[str, tuple[int, tuple[int, ...]]]
) -> dict[str, Tensor]:
    means = capture[table["means"][0]]
    if not isinstance(means, Tensor):
        raise CheckpointError(f"{path}: entry {table['means'][0]} is no tensor; another version of Ex4DGS?")
    count = means.shape[0] if means.numel() else 0
    keyframes = means.shape[1] if means.dim() == 3 else 0
    tensors: dict[str, Tensor] = {}
    for name, (entry, tail) in table.items():
        value = capture[entry]
        shape = (count, *(keyframes if size == _KEYFRAMES else size for size in tail))
        if not isinstance(value, Tensor) or (tuple(value.shape) != shape and (count or value.numel())):
            kind = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"{path}: {name} (entry {entry}) is {kind}, {list(shape)} expected; damaged file?")
        flat = value.detach().to(torch.float32).reshape(shape)
        tensors[name] = (flat.squeeze(-1) if name in _FLATTENED else flat).clone()
    logits = tensors["opacity_logits"]
    require_finite(
        tensors | {"opacity_logits": logits.masked_fill(logits.isinf(), 0)}, path
    )  # infinite: opacity 1 or 0
    return tensors
