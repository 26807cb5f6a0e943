"""Files E-D3DGS and 4DGaussians have in common: point_cloud.ply, deformation.pth, the clip's length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from common.text.wording import counted
from experts.base import CheckpointError, LoadOptions
from experts.canonical.gaussians import CanonicalGaussians
from experts.formats.cfg_args import CFG_ARGS
from experts.formats.columns import GAUSSIAN, OPACITY, POSITION, QUATS, SCALES, select_sh, sh_to_columns
from experts.formats.folders import find_iteration
from experts.formats.ply import PlyTable, select, write_ply
from experts.formats.routing import append_columns, read_columns_of
from experts.formats.settings import CheckpointSettings
from experts.formats.torch_files import load_state_dict, shorten

CLOUD_FILE = "point_cloud.ply"
DEFORMATION_FILE = "deformation.pth"
CLIP_LENGTH = "total_num_frames"  # E-D3DGS's name for it in cfg_args; the authors' 4DGaussians writes none

Network = TypeVar("Network", bound=nn.Module)


def read_canonical(table: PlyTable) -> CanonicalGaussians:
    """Canonical Gaussians from the 3DGS columns of a table; raises CheckpointError for missing ones."""
    return CanonicalGaussians(
        means=select(table, POSITION),
        log_scales=select(table, SCALES),
        quats=select(table, QUATS),
        opacity_logits=select(table, OPACITY).squeeze(1),
        **select_sh(table),
    )


def write_canonical(
    path: Path,
    gaussians: CanonicalGaussians,
    *,
    extra: tuple[Sequence[str], Tensor] | None = None,
    comments: Sequence[str] = (),
) -> None:
    """Write 3DGS's columns, then the expert's extra columns."""
    sh = sh_to_columns(gaussians.sh_dc, gaussians.sh_rest)
    normals = torch.zeros_like(gaussians.means)
    opacity = gaussians.opacity_logits[:, None]
    names: list[str] = list(GAUSSIAN)
    columns = [gaussians.means, normals, sh, opacity, gaussians.log_scales, gaussians.quats]
    if extra is not None:
        names += extra[0]
        columns.append(extra[1])
    write_ply(path, names, torch.cat(columns, dim=1), comments=comments)


def append_routed(folder: Path, iteration: int, weights: Tensor) -> None:
    """Add the router's weights [n, 3] (base, directional, temporal) to a saved model's point_cloud.ply."""
    append_columns(folder / "point_cloud" / f"iteration_{iteration}" / CLOUD_FILE, weights)


def read_routed(folder: Path, iteration: int | None = None) -> Tensor | None:
    """The router's weights [n, 3] (base, directional, temporal) in a model folder's point_cloud.ply, or None."""
    return read_columns_of([(find_iteration(folder, iteration)[1] / CLOUD_FILE, "")], parts="its files")


def read_deformation(path: Path, *, trust: bool) -> dict[str, Tensor]:
    """A deformation.pth as float32 tensors by name; raises CheckpointError."""
    state = load_state_dict(path, trust=trust)
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def shape_in(state: Mapping[str, Tensor], name: str, path: Path, *, dimensions: int) -> tuple[int, ...]:
    """Shape of a tensor that the file must have, with so many dimensions; raises CheckpointError."""
    if name not in state:
        there = shorten(sorted(state)) or "nothing"
        raise CheckpointError(f"{path}: no tensor {name}, found {there}; another model's deformation?")
    shape = tuple(state[name].shape)
    if len(shape) != dimensions:
        raise CheckpointError(f"{path}: {name} is {list(shape)}, expected {dimensions} dimensions; damaged file?")
    return shape


def trunk_depth(state: Mapping[str, Tensor], prefix: str) -> int:
    """Linear layers of a trunk, whose weights are named <prefix>.0.weight, <prefix>.2.weight, ..."""
    return max(1, sum(name.startswith(f"{prefix}.") and name.endswith(".weight") for name in state))


def fill(network: Network, state: Mapping[str, Tensor], path: Path) -> Network:
    """Put a file's tensors into a network built on the meta device.

    Raises CheckpointError where names or shapes differ.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    faults = []
    if missing := sorted(expected.keys() - state.keys()):
        faults.append(f"missing {shorten(missing)}")
    if unexpected := sorted(state.keys() - expected.keys()):
        faults.append(f"unexpected {shorten(unexpected)}")
    shared = sorted(expected.keys() & state.keys())
    if wrong := [name for name in shared if tuple(state[name].shape) != expected[name]]:
        faults.append(f"{wrong[0]} is {list(state[wrong[0]].shape)}, expected {list(expected[wrong[0]])}")
    if faults:
        raise CheckpointError(f"{path}: {'; '.join(faults)}; another model's or another version's file")
    network.load_state_dict(dict(state), assign=True)
    return network


def cfg_args_file(settings: CheckpointSettings) -> tuple[Path, ...]:
    """The folder's cfg_args if it was read: rendering depends on it as on the tensors."""
    return () if settings.cfg_args is None else (settings.folder / CFG_ARGS,)


def clip_is_assumed(settings: CheckpointSettings, options: LoadOptions) -> bool:
    """Tell whether neither the user nor the checkpoint says on how many frames a model was trained."""
    stored = (settings.cfg_args or {}).get(CLIP_LENGTH)
    unsaid = stored is None or (isinstance(stored, int | float) and stored <= 0)
    return options.expert_frames is None and unsaid


def clip_length(settings: CheckpointSettings, options: LoadOptions, preset: int) -> int:
    """Frames by which a frame is divided to give the network's time.

    The user's number wins, then the checkpoint's own: a model trained on 300 frames keeps its clock in a shorter clip.
    Where there is none, the whole footage's counts, then the clip's.
    """
    assumed = clip_is_assumed(settings, options)
    run = options.trained_frames or options.num_frames if assumed else options.expert_frames
    frames = int(settings.number(CLIP_LENGTH, preset, run=run, above=0))
    if not assumed and options.num_frames not in (None, frames):
        settings.notes.append(
            f"the model was trained on {counted(frames, 'frame')}, the clip has {options.num_frames:,}"
        )
    return frames
