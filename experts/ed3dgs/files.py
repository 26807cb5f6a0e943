"""E-D3DGS's model folders: point_cloud.ply and deformation.pth of one iteration, and cfg_args."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import Tensor

from common.text.wording import counted
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
from experts.ed3dgs.deformation import ED3DGSDeformation
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.recipe import N3V_OPTIONS, TECHNICOLOR_OPTIONS, ED3DGSOptions
from experts.formats.cfg_args import CFG_ARGS, read_cfg_args, write_cfg_args
from experts.formats.columns import numbered
from experts.formats.folders import find_iteration
from experts.formats.ply import PlyTable, numbered_columns, read_ply, select
from experts.formats.routing import ROUTING
from experts.formats.settings import CheckpointSettings, background_setting
from experts.formats.torch_files import save_tensors

_EMBEDDING = "embedding_"
PUBLISHED_ROWS = {"N3V": 150, "Technicolor": 25}  # of the temporal table, by published preset
_TRAINED = "trained_iterations"  # our own entry in cfg_args: folder's number -> iteration up to which it was trained


def load_ed3dgs(path: Path, options: LoadOptions) -> ED3DGS:
    """An E-D3DGS model from its folder.

    Network sizes come from the tensors' shapes, switches and schedules from cfg_args, else from the preset that the
    size of the temporal table tells (N3V 150 rows, Technicolor 25); the notes say which. Raises CheckpointError.
    """
    settings = CheckpointSettings(path)
    settings.compare_scene(options.scene)
    settings.note_preset()
    iteration, folder = find_iteration(path, options.iteration)
    table = read_ply(folder / CLOUD_FILE)
    embeddings = select(table, numbered_columns(table.names, _EMBEDDING))
    source = folder / DEFORMATION_FILE
    state = _renamed(read_deformation(source, trust=options.trust_checkpoint))
    deformation = _deformation(state, settings, source, embedding_width=embeddings.shape[1])
    files = (*cfg_args_file(settings), table.path, source)
    num_frames = clip_length(settings, options, 50 if _is_technicolor(deformation.weight) else 300)
    until = _trained_until(settings, iteration, table, deformation.options)
    background = settings.background(white=True)
    expert = ED3DGS(
        gaussians=read_canonical(table),
        embeddings=embeddings,
        deformation=deformation,
        num_frames=num_frames,
        iteration=until,
        provenance=Provenance(
            files=files,
            iteration=iteration,
            notes=tuple(settings.notes),
            clip_is_assumed=clip_is_assumed(settings, options),
        ),
    )
    expert.background = background
    return expert


def save_ed3dgs(expert: ED3DGS, folder: Path, iteration: int) -> None:
    """Write an E-D3DGS model below `folder`, and the settings it needs into cfg_args."""
    target = folder / "point_cloud" / f"iteration_{iteration}"
    names = numbered(_EMBEDDING, expert.embeddings.shape[1])
    write_canonical(target / CLOUD_FILE, expert.gaussians, extra=(names, expert.embeddings))
    state = {name: value.detach().cpu() for name, value in expert.deformation.state_dict().items()}
    save_tensors(state, target / DEFORMATION_FILE)
    trained = {**_trained_iterations(read_cfg_args(folder) or {}), iteration: expert.iteration}
    values = {**asdict(expert.deformation.options), CLIP_LENGTH: expert.num_frames, _TRAINED: trained}
    write_cfg_args(folder, values | background_setting(expert.background, white=True))


def write_routed_ed3dgs(expert: ED3DGS, folder: Path, iteration: int, weights: Tensor) -> None:
    """Write a model with the router's weights [n, 3] (base, directional, temporal) as columns."""
    save_ed3dgs(expert, folder, iteration)
    append_routed(folder, iteration, weights)


def _trained_until(settings: CheckpointSettings, number: int, table: PlyTable, options: ED3DGSOptions) -> int:
    """Training iteration of a model, which annealing and coarse-to-fine need: not always its folder's number.

    MoE-GS saves a copy under its router's iteration; such a copy without our entry in cfg_args is a finished model.
    """
    stored = _trained_iterations(settings.cfg_args or {}).get(number)
    if stored is not None:
        until, source = stored, "from cfg_args"
    elif ROUTING[0] in table.names:
        until, source = max(number, options.finished), "a router's copy, taken as fully trained"
    else:
        until, source = number, "from the folder name"
    settings.notes.append(f"annealing and coarse-to-fine as after iteration {until} ({source})")
    return until


def _trained_iterations(cfg_args: Mapping[str, object]) -> dict[int, int]:
    stored = cfg_args.get(_TRAINED)
    entries = stored.items() if isinstance(stored, dict) else ()
    return {number: until for number, until in entries if isinstance(number, int) and isinstance(until, int)}


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as E-D3DGS writes them; MoE-GS's copy of it wrote a prefix, older ones `_f1` for the fine network."""
    return {name.removeprefix("deformation_net.").replace("_f1", "_f"): value for name, value in state.items()}


def _deformation(
    state: dict[str, Tensor], settings: CheckpointSettings, path: Path, *, embedding_width: int
) -> ED3DGSDeformation:
    rows, temporal = shape_in(state, "weight", path, dimensions=2)
    width, inputs = shape_in(state, "feature_out_c.0.weight", path, dimensions=2)
    if inputs != temporal + embedding_width:
        raise CheckpointError(
            f"{path}: made for {inputs - temporal} embedding columns, {CLOUD_FILE} beside it has {embedding_width}; "
            "the two files are of different models"
        )
    sizes = {
        "net_width": width,
        "defor_depth": trunk_depth(state, "feature_out_c"),
        "max_embeddings": rows,
        "temporal_embedding_dim": temporal,
        "gaussian_embedding_dim": embedding_width,
    }
    settings.notes += [f"{name} {size} (from shapes)" for name, size in sizes.items()]
    options = _options(settings, state["weight"])
    with torch.device("meta"):
        network = ED3DGSDeformation(
            options,
            width=width,
            depth=sizes["defor_depth"],
            max_embeddings=rows,
            temporal_width=temporal,
            embedding_width=embedding_width,
            cameras=shape_in(state, "offsets", path, dimensions=2)[0],
        )
    return fill(network, state, path)


def _options(settings: CheckpointSettings, table: Tensor) -> ED3DGSOptions:
    rows = table.shape[0]
    preset, name = (TECHNICOLOR_OPTIONS, "Technicolor") if _is_technicolor(table) else (N3V_OPTIONS, "N3V")
    stored = settings.cfg_args or {}
    if _TRAINED not in stored and rows == PUBLISHED_ROWS[name]:
        settings.notes.append(f"preset {name} (temporal table of {rows} rows)")
    elif any(entry.name not in stored for entry in fields(preset)):
        settings.notes.append(
            f"temporal table of {counted(rows, 'row')}; switches that cfg_args lacks are as for {name}"
        )
    chosen = {}
    for entry in fields(preset):
        value = getattr(preset, entry.name)
        chosen[entry.name] = type(value)(settings.number(entry.name, value))
    most = max(rows, preset.min_embeddings)  # the table is resampled to as many rows
    if not 1 <= chosen["min_embeddings"] <= most:
        raise CheckpointError(
            f"{settings.folder / CFG_ARGS}: min_embeddings is {chosen['min_embeddings']}, 1 to {most} expected; mend it"
        )
    return ED3DGSOptions(**chosen)


def _is_technicolor(table: Tensor) -> bool:
    return table.shape[0] < N3V_OPTIONS.min_embeddings  # 25 rows there; the N3V settings would not fit
