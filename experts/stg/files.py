"""STG's model folders: MoE-GS's SH variant and the public full and lite variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.text.wording import counted
from experts.base import CheckpointError, LoadOptions, Provenance
from experts.formats.cfg_args import write_cfg_args
from experts.formats.columns import OPACITY, POSITION, QUATS, SCALES, select_sh, sh_to_columns
from experts.formats.folders import find_iteration
from experts.formats.ply import PlyTable, numbered_columns, read_ply, select, write_ply
from experts.formats.routing import append_columns, read_columns_of
from experts.formats.settings import CheckpointSettings, background_setting
from experts.formats.torch_files import load_state_dict, save_tensors
from experts.stg.columns import COLUMNS, MOTION, OMEGA, TIME, TIME_FEATURES, Kind
from experts.stg.decoder import DecoderOutput, SandwichDecoder
from experts.stg.model import STG, STGSegment
from experts.stg.segments import SegmentFolder, check_coverage, find_segments, frames_name, segment_folder

TABLE_FILE = "point_cloud.ply"
DECODER_FILE = "point_cloud.pt"
_OUTPUTS: dict[str, DecoderOutput] = {"sandwich": "sigmoid", "sandwichnoact": "clamp", "sandwichnoactss": "none"}
_PRESET_FRAMES = 50  # what the public models cover


def load_stg(path: Path, options: LoadOptions) -> STG:
    """An STG model from its folder, or from the folder of its segments.

    Segments say in their names which frames they show (last one included); a single model shows cfg_args' duration.
    near and far (SH variant): as CheckpointSettings.planes chooses them. The full variant's decoder needs a black
    background; the others' is that of training. Raises CheckpointError.
    """
    folders = find_segments(path, scene=options.scene)
    loaded = [_load_segment(folder, options) for folder in folders]
    settings = CheckpointSettings(folders[0].folder)
    settings.compare_scene(options.scene)
    settings.note_preset()
    kinds = [segment_variant(part.segment) for part in loaded]
    if len(set(kinds)) > 1:
        raise CheckpointError(f"{path}: segments of different kinds ({', '.join(kinds)}); all must be of one kind")
    check_coverage(path, sum(part.segment.num_frames for part in loaded), options.num_frames)
    near, far = settings.planes(options)
    low_pass = settings.number("kernel_size", 0.1)
    colour = CheckpointSettings(folders[0].folder)
    background = colour.background(white=False, obey=kinds[0] != "full")
    settings.notes += colour.notes
    shown = [f"segment {p.segment.first}to{p.segment.first + p.segment.num_frames - 1}: {p.note}" for p in loaded]
    provenance = Provenance(
        files=tuple(file for part in loaded for file in part.files),
        iteration=max(part.iteration for part in loaded),
        notes=(*shown, *(settings.notes if kinds[0] == "sh" else colour.notes)),
    )
    segments = [part.segment for part in loaded]
    expert = STG(segments=segments, near=near, far=far, low_pass=low_pass, provenance=provenance)
    if kinds[0] != "full":
        expert.background = background
    return expert


def save_stg(expert: STG, folder: Path, iteration: int) -> None:
    """Write a model's folder, or one per segment: <folder's name>_<first>to<last>, the layout of training."""
    for segment in expert.parts:
        last = segment.first + segment.num_frames - 1
        target = folder if len(expert.parts) == 1 else segment_folder(folder, segment.first, last)
        _write_segment(expert, segment, target, iteration)


def write_routed_stg(expert: STG, folder: Path, iteration: int, weights: Tensor) -> None:
    """Write a model with the router's weights [n, 3] (base, directional, temporal; all segments) as columns.

    Segments are named as in MoE-GS's results: <first>to<last>. Raises ValueError for the full variant: its time
    features and the router's columns both have a column f_t_0.
    """
    if any(segment_variant(segment) == "full" for segment in expert.parts):
        raise ValueError("STG: the full variant cannot carry a router's columns, both have f_t_0; use the SH variant")
    rows = weights.split([segment.means.shape[0] for segment in expert.parts])
    for segment, own in zip(expert.parts, rows, strict=True):
        last = segment.first + segment.num_frames - 1
        target = folder if len(expert.parts) == 1 else folder / frames_name(segment.first, last)
        append_columns(_write_segment(expert, segment, target, iteration), own)


def read_routed_stg(path: Path, iteration: int | None = None) -> Tensor | None:
    """The router's weights [n, 3] (base, directional, temporal; all segments) of a saved model, or None."""
    folders = [find_iteration(segment.folder, iteration)[1] for segment in find_segments(path)]
    return read_columns_of([(folder / TABLE_FILE, "") for folder in folders], parts="its segments")


def segment_variant(segment: STGSegment) -> Kind:
    """A segment's variant: MoE-GS's with spherical harmonics, or one of the two original ones."""
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
    settings = CheckpointSettings(source.folder)
    if source.last is None:
        num_frames = int(settings.number("duration", options.num_frames or _PRESET_FRAMES, above=0, unit="frames"))
    else:
        num_frames = source.last - source.first + 1
        settings.notes.append(f"{counted(num_frames, 'frame')} (from the folder name)")
    table = read_ply(folder / TABLE_FILE)
    files: tuple[Path, ...] = (table.path,)
    decoder, kind = None, _table_variant(table)
    settings.notes.append(f"variant {kind} (from the PLY columns)")
    if kind == "full":
        files = (table.path, folder / DECODER_FILE)
        decoder = _read_decoder(folder / DECODER_FILE, settings, trust=options.trust_checkpoint)
    sh = select_sh(table) if kind == "sh" else None
    segment = STGSegment(
        first=source.first,
        num_frames=num_frames,
        means=select(table, POSITION),
        motion=select(table, MOTION),
        quats=select(table, QUATS),
        omegas=select(table, OMEGA),
        log_scales=select(table, SCALES),
        opacity_logits=select(table, OPACITY).squeeze(1),
        trbf_centres=select(table, TIME[:1]).squeeze(1),
        trbf_log_widths=select(table, TIME[1:]).squeeze(1),
        sh_dc=None if sh is None else sh["sh_dc"],
        sh_rest=None if sh is None else sh["sh_rest"],
        features=select(table, numbered_columns(table.names, "f_dc_")) if sh is None else None,
        time_features=select(table, TIME_FEATURES) if kind == "full" else None,
        decoder=decoder,
    )
    return _Loaded(segment=segment, iteration=iteration, files=files, note=", ".join(settings.notes))


def _table_variant(table: PlyTable) -> Kind:
    """The variant of an STG file; one f_t column is the router's weight, three are the full variant's time features."""
    rest, features = numbered_columns(table.names, "f_rest_"), numbered_columns(table.names, "f_dc_")
    if rest:
        return "sh"
    if len(features) == 6 and set(TIME_FEATURES) <= set(table.names):
        return "full"
    if len(features) == 3:
        return "lite"
    raise CheckpointError(
        f"{table.path}: {len(features)} f_dc_* and no f_rest_* columns fit none of STG's variants (SH: 3 and 45; "
        "full: 6 with f_t_0..2; lite: 3); retrain it as one of them"
    )


def _read_decoder(path: Path, settings: CheckpointSettings, *, trust: bool) -> SandwichDecoder:
    state = load_state_dict(path, trust=trust)
    shapes = {name: list(value.shape) for name, value in state.items()}
    if shapes != {"mlp1.weight": [6, 12, 1, 1], "mlp2.weight": [3, 6, 1, 1]}:
        raise CheckpointError(f"{path}: {shapes} is not STG's colour decoder (mlp1 [6, 12, 1, 1], mlp2 [3, 6, 1, 1])")
    output = _OUTPUTS[settings.choice("rgbfunction", "sandwich", _OUTPUTS)]
    return SandwichDecoder(mlp1=state["mlp1.weight"].float(), mlp2=state["mlp2.weight"].float(), output=output)


def _write_segment(expert: STG, segment: STGSegment, folder: Path, iteration: int) -> Path:
    """Write a segment's files and cfg_args; returns its PLY file."""
    target = folder / "point_cloud" / f"iteration_{iteration}"
    times = torch.stack([segment.trbf_centres, segment.trbf_log_widths], dim=1)
    columns = [
        *(segment.means, times, torch.zeros_like(segment.means), segment.motion, _colour_columns(segment)),
        *(segment.opacity_logits.unsqueeze(1), segment.log_scales, segment.quats, segment.omegas),
        *([] if segment.time_features is None else [segment.time_features]),
    ]
    write_ply(target / TABLE_FILE, COLUMNS[segment_variant(segment)], torch.cat(columns, dim=1))
    if segment.decoder is not None:
        save_tensors(segment.decoder.state_dict(), target / DECODER_FILE)
    write_cfg_args(folder, _cfg_args(expert, segment))
    return target / TABLE_FILE


def _colour_columns(segment: STGSegment) -> Tensor:
    if segment.sh_dc is not None and segment.sh_rest is not None:
        return sh_to_columns(segment.sh_dc, segment.sh_rest)
    assert segment.features is not None
    return segment.features


def _cfg_args(expert: STG, segment: STGSegment) -> dict[str, object]:
    white = background_setting(expert.background, white=False)
    values: dict[str, object] = {"duration": segment.num_frames, **white}
    if segment.sh_dc is not None:
        return values | {"sh_degree": 3, "near": expert.near, "far": expert.far, "kernel_size": expert.low_pass}
    if segment.decoder is None:
        return values | {"rgbfunction": "rgbv1"}
    names = {output: name for name, output in _OUTPUTS.items()}
    return values | {"rgbfunction": names[segment.decoder.output]}
