"""4DGaussians' model folders: point_cloud.ply, deformation.pth, two optional tables, and cfg_args."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import Tensor

from experts.base import CheckpointError, LoadOptions, Provenance
from experts.canonical.files import (
    CLIP_LENGTH,
    CLOUD_FILE,
    DEFORMATION_FILE,
    append_routed,
    cfg_args_file,
    clip_is_assumed,
    clip_length,
    fill,
    read_canonical,
    read_deformation,
    shape_in,
    trunk_depth,
    write_canonical,
)
from experts.formats.cfg_args import write_cfg_args
from experts.formats.folders import find_iteration
from experts.formats.ply import read_ply
from experts.formats.settings import CheckpointSettings, background_setting
from experts.formats.torch_files import load_tensors, require_finite, save_tensors
from experts.fourdgaussians.deformation import FourDGaussiansDeformation
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.planes import PLANES
from experts.fourdgaussians.recipe import FourDGaussiansOptions, NetworkShape

_TABLES: tuple[tuple[str, str, tuple[int, ...]], ...] = (  # attribute, file, columns
    ("table", "deformation_table.pth", ()),
    ("accumulated", "deformation_accum.pth", (3,)),
)
_NET = "deformation_net"
_N3V_FRAMES = 300
_LEVEL = re.compile(rf"{_NET}\.grid\.grids\.(\d+)\.0")


def load_fourdgaussians(path: Path, options: LoadOptions) -> FourDGaussians:
    """A 4DGaussians model from its folder.

    Network sizes and the scene's box come from deformation.pth, switches from cfg_args, else from the N3V preset; the
    notes say which. Raises CheckpointError.
    """
    settings = CheckpointSettings(path)
    settings.compare_scene(options.scene)
    settings.note_preset()
    iteration, folder = find_iteration(path, options.iteration)
    table = read_ply(folder / CLOUD_FILE)
    source = folder / DEFORMATION_FILE
    state = read_deformation(source, trust=options.trust_checkpoint)
    gaussians = read_canonical(table)
    files = [*cfg_args_file(settings), table.path, source]
    extra = {}
    for name, file, columns in _TABLES:
        if (folder / file).is_file():
            expected = (len(gaussians.means), *columns)
            extra[name] = _read_table(folder / file, expected, trust=options.trust_checkpoint)
            files.append(folder / file)
    deformation = _deformation(state, settings, source)
    num_frames = clip_length(settings, options, _N3V_FRAMES)
    background = settings.background(white=True)
    expert = FourDGaussians(
        gaussians=gaussians,
        deformation=deformation,
        num_frames=num_frames,
        provenance=Provenance(
            files=tuple(files),
            iteration=iteration,
            notes=tuple(settings.notes),
            clip_is_assumed=clip_is_assumed(settings, options),
        ),
        **extra,
    )
    expert.background = background
    return expert


def save_fourdgaussians(expert: FourDGaussians, folder: Path, iteration: int) -> None:
    """Write a 4DGaussians model below `folder`, and the settings it needs into cfg_args."""
    target = folder / "point_cloud" / f"iteration_{iteration}"
    write_canonical(target / CLOUD_FILE, expert.gaussians)
    state = {name: value.detach().cpu() for name, value in expert.deformation.state_dict().items()}
    save_tensors(state, target / DEFORMATION_FILE)
    for name, file, _ in _TABLES:
        value = getattr(expert, name)
        if value is not None:
            save_tensors(value.detach().cpu(), target / file)
    values = {**asdict(expert.deformation.options), CLIP_LENGTH: expert.num_frames}
    write_cfg_args(folder, values | background_setting(expert.background, white=True))


def write_routed_fourdgaussians(expert: FourDGaussians, folder: Path, iteration: int, weights: Tensor) -> None:
    """Write a model with the router's weights [n, 3] (base, directional, temporal) as columns."""
    save_fourdgaussians(expert, folder, iteration)
    append_routed(folder, iteration, weights)


def _read_table(path: Path, expected: tuple[int, ...], *, trust: bool) -> Tensor:
    value = load_tensors(path, trust=trust)
    kind = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if kind != list(expected):
        raise CheckpointError(
            f"{path}: found {kind}, expected a tensor {list(expected)} as {CLOUD_FILE} beside it has "
            f"{expected[0]} Gaussians; remove the file, rendering does not need it"
        )
    require_finite({path.stem: value}, path)
    return value


def _deformation(state: Mapping[str, Tensor], settings: CheckpointSettings, path: Path) -> FourDGaussiansDeformation:
    shape = network_shape(state, path)
    sizes = {entry.name: getattr(shape, entry.name) for entry in fields(shape)}
    settings.notes += [f"{name} {_shown(value)} (from shapes)" for name, value in sizes.items() if value is not None]
    switches = {entry.name: bool(settings.number(entry.name, False)) for entry in fields(FourDGaussiansOptions)}
    if not shape.colour_head:
        switches["no_dshs"] = True
        settings.notes.append(f"no_dshs 1 (no shs_deform in {path.name})")
    with torch.device("meta"):
        network = FourDGaussiansDeformation(FourDGaussiansOptions(**switches), shape)
    return fill(network, state, path)


def _shown(value: object) -> str:
    """A size of the network, for a note: "64", "64x64x64x15 128x128x128x15"."""
    if not isinstance(value, tuple):
        return str(value)
    return " ".join("x".join(map(str, part)) if isinstance(part, tuple) else str(part) for part in value)


def network_shape(state: Mapping[str, Tensor], path: Path) -> NetworkShape:
    """Sizes of the network whose tensors these are; raises CheckpointError where a tensor to tell them is missing."""
    width, _ = shape_in(state, f"{_NET}.feature_out.0.weight", path, dimensions=2)
    levels = 1 + max((int(match.group(1)) for name in state if (match := _LEVEL.fullmatch(name))), default=0)
    encodings = ("time_poc", "pos_poc", "rotation_scaling_poc", "opacity_poc")
    voxel = f"{_NET}.empty_voxel.grid"
    return NetworkShape(
        width=width,
        depth=trunk_depth(state, f"{_NET}.feature_out"),
        channels=shape_in(state, f"{_NET}.grid.grids.0.0", path, dimensions=4)[1],
        resolutions=tuple(_resolution(state, level, path) for level in range(levels)),
        colour_head=f"{_NET}.shs_deform.1.weight" in state,
        static_mlp=f"{_NET}.static_mlp.1.weight" in state,
        empty_voxel=shape_in(state, voxel, path, dimensions=5)[2:] if voxel in state else None,
        encodings=tuple(shape_in(state, name, path, dimensions=1)[0] for name in encodings),
        timenet=tuple(shape_in(state, f"timenet.{layer}.weight", path, dimensions=2)[0] for layer in (0, 2)),
    )


def _resolution(state: Mapping[str, Tensor], level: int, path: Path) -> tuple[int, ...]:
    """Cells along x, y, z and t: the planes (x, y) and (z, t) tell all four."""
    names = (f"{_NET}.grid.grids.{level}.{plane}" for plane in (PLANES.index((0, 1)), PLANES.index((2, 3))))
    (*_, y, x), (*_, t, z) = (shape_in(state, name, path, dimensions=4) for name in names)
    return x, y, z, t
