"""STG's model folders: MoE-GS's SH variant and the public full and lite variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from experts.base import CheckpointError, LoadOptions, Provenance
from experts.formats.columns import (
    OPACITY,
    POSITION,
    QUATS,
    ROUTING,
    SCALES,
    STG_FULL,
    STG_LITE,
    STG_MOTION,
    STG_OMEGA,
    STG_SH,
    STG_TIME,
    STG_TIME_FEATURES,
    require_expert,
    routing_to_columns,
    select_routing,
    select_sh,
    sh_to_columns,
)
from experts.formats.ply import PlyTable, numbered_columns, read_ply, select, write_ply
from experts.formats.settings import Settings, write_cfg_args
from experts.formats.torch_files import find_iteration, load_state_dict, save_tensors
from experts.stg.decoder import DecoderOutput, SandwichDecoder
from experts.stg.model import STG, STGSegment
from experts.stg.segments import SegmentFolder, check_coverage, find_segments

Kind = Literal["sh", "full", "lite"]
TABLE_FILE = "point_cloud.ply"
DECODER_FILE = "point_cloud.pt"
_OUTPUTS: dict[str, DecoderOutput] = {"sandwich": "sigmoid", "sandwichnoact": "clamp", "sandwichnoactss": "none"}
_PRESET_FRAMES = 50  # what the public models cover
_COLUMNS: dict[Kind, tuple[str, ...]] = {"sh": STG_SH, "full": STG_FULL, "lite": STG_LITE}


def load_stg(path: Path, options: LoadOptions) -> STG:
    """An STG model from its folder, or from the folder of its segments.

    Segments say in their names which frames they show (last one included); a single model shows cfg_args' duration.
    near and far (SH variant): the run's, else cfg_args', else the presets. Raises CheckpointError.
    """
    found = find_segments(path, scene=options.scene)
    loaded = [_load_segment(segment, options) for segment in found]
    settings = Settings(found[0].folder)
    settings.compare_scene(options.scene)
    kinds = [kind_of(part.segment) for part in loaded]
    if len(set(kinds)) > 1:
        raise CheckpointError(f"{path}: segments of different kinds ({', '.join(kinds)}); all must be of one kind")
    check_coverage(path, sum(part.segment.num_frames for part in loaded), options.num_frames)
    near, far = settings.number("near", 0.2, run=options.near), settings.number("far", 300.0, run=options.far)
    low_pass = settings.number("kernel_size", 0.1)
    shown = [f"segment {p.segment.first}to{p.segment.first + p.segment.num_frames - 1}: {p.note}" for p in loaded]
    provenance = Provenance(
        files=tuple(file for part in loaded for file in part.files),
        iteration=max(part.iteration for part in loaded),
        notes=(*shown, *(settings.notes if kinds[0] == "sh" else ())),
    )
    segments = [part.segment for part in loaded]
    return STG(segments=segments, near=near, far=far, low_pass=low_pass, provenance=provenance)


def save_stg(expert: STG, folder: Path, iteration: int, *, routing: Tensor | None = None) -> None:
    """Write a model's folder, or one per segment: <folder's name>_<first>to<last>, the layout of training.

    routing [n, 3] (base, directional, temporal; all segments) adds MoE-GS's columns and names segments as its results
    do: <first>to<last>. Raises ValueError for the full variant with routing: both have a column f_t_0.
    """
    start = 0
    for segment in expert.parts:
        frames = f"{segment.first}to{segment.first + segment.num_frames - 1}"
        name = frames if routing is not None else f"{folder.resolve().name}_{frames}"
        target = folder if len(expert.parts) == 1 else folder / name
        end = start + segment.means.shape[0]
        _write_segment(
            segment,
            target / "point_cloud" / f"iteration_{iteration}",
            routing=None if routing is None else routing[start:end],
        )
        write_cfg_args(target, _cfg_args(expert, segment))
        start = end


def read_stg_routing(path: Path, iteration: int | None = None) -> Tensor | None:
    """MoE-GS's weights [n, 3] (base, directional, temporal; all segments) of a saved model, or None."""
    folders = [find_iteration(segment.folder, iteration)[1] for segment in find_segments(path)]
    weights = [select_routing(read_ply(folder / TABLE_FILE)) for folder in folders]
    if all(part is None for part in weights):
        return None
    if any(part is None for part in weights):
        raise CheckpointError(f"{path}: only some of its segments have a router's columns; save them again")
    return torch.cat([part for part in weights if part is not None])


def kind_of(segment: STGSegment) -> Kind:
    """Which of STG's three variants a segment is."""
    if segment.sh_dc is not None:
        return "sh"
    return "lite" if segment.decoder is None else "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    segment: STGSegment
    iteration: int
    files: tuple[Path, ...]
    note: str


def _load_segment(source: SegmentFolder, options: LoadOptions) -> _Loaded:
    iteration, folder = find_iteration(source.folder, options.iteration)
    settings = Settings(source.folder)
    if source.last is None:
        num_frames = int(settings.number("duration", options.num_frames or _PRESET_FRAMES, above=0))
    else:
        num_frames = source.last - source.first + 1
        settings.notes.append("frames from its name")
    table = read_ply(folder / TABLE_FILE)
    require_expert(table, "STG")
    files: tuple[Path, ...] = (table.path,)
    decoder, kind = None, _kind_of_table(table)
    settings.notes.append(f"{kind} variant from its columns")
    if kind == "full":
        files = (table.path, folder / DECODER_FILE)
        decoder = _read_decoder(folder / DECODER_FILE, settings, trust=options.trust_checkpoint)
    sh = select_sh(table) if kind == "sh" else None
    segment = STGSegment(
        first=source.first,
        num_frames=num_frames,
        means=select(table, POSITION),
        motion=select(table, STG_MOTION),
        quats=select(table, QUATS),
        omegas=select(table, STG_OMEGA),
        log_scales=select(table, SCALES),
        opacity_logits=select(table, OPACITY).squeeze(1),
        trbf_centres=select(table, STG_TIME[:1]).squeeze(1),
        trbf_log_widths=select(table, STG_TIME[1:]).squeeze(1),
        sh_dc=None if sh is None else sh["sh_dc"],
        sh_rest=None if sh is None else sh["sh_rest"],
        features=select(table, numbered_columns(table.names, "f_dc_")) if sh is None else None,
        time_features=select(table, STG_TIME_FEATURES) if kind == "full" else None,
        decoder=decoder,
    )
    return _Loaded(segment=segment, iteration=iteration, files=files, note=", ".join(settings.notes))


def _kind_of_table(table: PlyTable) -> Kind:
    """The variant of an STG file; one f_t column is the router's weight, three are the full variant's time features."""
    rest, features = numbered_columns(table.names, "f_rest_"), numbered_columns(table.names, "f_dc_")
    if rest:
        return "sh"
    if len(features) == 6 and set(STG_TIME_FEATURES) <= set(table.names):
        return "full"
    if len(features) == 3:
        return "lite"
    raise CheckpointError(
        f"{table.path}: {len(features)} f_dc_* and no f_rest_* columns fit none of STG's variants (SH: 3 and 45; "
        "full: 6 with f_t_0..2; lite: 3); retrain it as one of them"
    )


def _read_decoder(path: Path, settings: Settings, *, trust: bool) -> SandwichDecoder:
    state = load_state_dict(path, trust=trust)
    shapes = {name: list(value.shape) for name, value in state.items()}
    if shapes != {"mlp1.weight": [6, 12, 1, 1], "mlp2.weight": [3, 6, 1, 1]}:
        raise CheckpointError(f"{path}: {shapes} is not STG's colour decoder (mlp1 [6, 12, 1, 1], mlp2 [3, 6, 1, 1])")
    output = _OUTPUTS[settings.choice("rgbfunction", "sandwich", _OUTPUTS)]
    return SandwichDecoder(mlp1=state["mlp1.weight"].float(), mlp2=state["mlp2.weight"].float(), output=output)


def _write_segment(segment: STGSegment, folder: Path, *, routing: Tensor | None) -> None:
    kind = kind_of(segment)
    if kind == "full" and routing is not None:
        raise ValueError("STG: the full variant cannot carry a router's columns, both have f_t_0; use the SH variant")
    times = torch.stack([segment.trbf_centres, segment.trbf_log_widths], dim=1)
    columns = [
        *(segment.means, times, torch.zeros_like(segment.means), segment.motion, _colour_columns(segment)),
        *(segment.opacity_logits.unsqueeze(1), segment.log_scales, segment.quats, segment.omegas),
        *([] if segment.time_features is None else [segment.time_features]),
        *([] if routing is None else [routing_to_columns(routing).to(segment.means)]),
    ]
    names = _COLUMNS[kind] + (() if routing is None else ROUTING)
    write_ply(folder / TABLE_FILE, names, torch.cat(columns, dim=1))
    if segment.decoder is not None:
        save_tensors(segment.decoder.state_dict(), folder / DECODER_FILE)


def _colour_columns(segment: STGSegment) -> Tensor:
    if segment.sh_dc is not None and segment.sh_rest is not None:
        return sh_to_columns(segment.sh_dc, segment.sh_rest)
    assert segment.features is not None
    return segment.features


def _cfg_args(expert: STG, segment: STGSegment) -> dict[str, object]:
    values: dict[str, object] = {"duration": segment.num_frames}
    if segment.sh_dc is not None:
        return values | {"sh_degree": 3, "near": expert.near, "far": expert.far, "kernel_size": expert.low_pass}
    if segment.decoder is None:
        return values | {"rgbfunction": "rgbv1"}
    names = {output: name for name, output in _OUTPUTS.items()}
    return values | {"rgbfunction": names[segment.decoder.output]}
