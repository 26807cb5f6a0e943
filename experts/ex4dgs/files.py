"""Ex4DGS's model folders: the PLY pair that its trainer and MoE-GS write, or its chkpnt<N>.pth."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from experts.base import CheckpointError, LoadOptions, Provenance
from experts.ex4dgs.chkpnt import Parts, StoredTime, find_chkpnts, read_chkpnt
from experts.ex4dgs.columns import DISPLACEMENT, MOTION_PREFIX, STATIC, dynamic_columns, keyframe_columns
from experts.ex4dgs.model import DynamicGaussians, Ex4DGS, StaticGaussians
from experts.ex4dgs.motion import INTERPOLATIONS, Interpolation, KeyframeTimeline
from experts.formats.cfg_args import write_cfg_args
from experts.formats.columns import OPACITY, POSITION, QUATS, SCALES, numbered, select_sh, sh_to_columns
from experts.formats.folders import find_iteration
from experts.formats.ply import read_ply, select, write_ply
from experts.formats.routing import append_columns, read_columns_of
from experts.formats.settings import CheckpointSettings, background_setting

STATIC_FILE = "point_cloud.ply"
DYNAMIC_FILE = "dynamic_point_cloud.ply"
_MOTION = "frames of static motion"  # in notes: Ex4DGS's duration may be longer than the clip
# In cfg_args. True, the default, trains for any background; its render.py then takes white, whatever cfg_args say.
_RANDOM_BACKGROUND = "random_background"
_TECHNICOLOR_KEYFRAMES = 12  # what its 50 frames need; those models were trained with time_pad 3, N3V's with 2


def load_ex4dgs(path: Path, options: LoadOptions) -> Ex4DGS:
    """An Ex4DGS model from its folder, or from a chkpnt<N>.pth given as the path.

    From a folder the PLY pair is read, as MoE-GS does; a chkpnt<N>.pth only where the pair is missing. The two differ
    in the frames over which static Gaussians move: cfg_args' duration for the PLY pair, a stored, longer one for a
    chkpnt. Settings: the run's, else cfg_args', else the presets. Raises CheckpointError.
    """
    settings = CheckpointSettings(path if path.is_dir() else path.parent)
    settings.compare_scene(options.scene)
    settings.note_preset()
    chkpnt = _chosen_chkpnt(path, options.iteration)
    parts = (
        _read_pair(path, options.iteration) if chkpnt is None else read_chkpnt(chkpnt, trust=options.trust_checkpoint)
    )
    if chkpnt is None and parts.iteration in find_chkpnts(path):
        settings.notes.append(f"read the two PLY files; ignored chkpnt{parts.iteration}.pth, whose duration differs")
    timeline = _timeline(settings, options, parts.time, keyframes=parts.dynamic.means.shape[1])
    near, far = settings.planes(options)
    fixed = (settings.cfg_args or {}).get(_RANDOM_BACKGROUND) is False
    background = settings.background(white=True, obey=fixed)
    expert = Ex4DGS(
        static=parts.static,
        dynamic=parts.dynamic,
        timeline=timeline,
        near=near,
        far=far,
        low_pass=settings.number("kernel_size", 0.1),
        world_scale=options.world_scale,
        provenance=Provenance(files=parts.files, iteration=parts.iteration, notes=tuple(settings.notes)),
    )
    expert.background = background
    first, last = expert.frames
    if options.num_frames is not None and not first <= 0 <= options.num_frames - 1 < last:
        raise CheckpointError(
            f"{path}: its keyframes cover frames {first:g} to {last:g} (excluded), the clip has {options.num_frames}; "
            "give the model of this clip"
        )
    return expert


def save_ex4dgs(expert: Ex4DGS, folder: Path, iteration: int) -> None:
    """Write the PLY pair below `folder` and the settings it needs into cfg_args."""
    static, dynamic, target = expert.static, expert.dynamic, folder / "point_cloud" / f"iteration_{iteration}"
    count, keyframes = dynamic.means.shape[:2]
    columns = [
        *(static.means, torch.zeros_like(static.means), sh_to_columns(static.sh_dc, static.sh_rest)),
        *(static.opacity_logits.unsqueeze(1), static.log_scales, static.quats, static.displacements),
    ]
    write_ply(target / STATIC_FILE, STATIC, torch.cat(columns, dim=1))
    columns = [
        dynamic.means.reshape(count, 3 * keyframes),
        *(sh_to_columns(dynamic.sh_dc, dynamic.sh_rest), dynamic.log_scales),
        *(dynamic.opacity_logits.unsqueeze(1), dynamic.opacity_centres, dynamic.opacity_log_widths),
        dynamic.quats.reshape(count, 4 * keyframes),
    ]
    write_ply(target / DYNAMIC_FILE, dynamic_columns(keyframes), torch.cat(columns, dim=1))
    write_cfg_args(folder, _cfg_args(expert))


def write_routed_ex4dgs(expert: Ex4DGS, folder: Path, iteration: int, weights: Tensor) -> None:
    """Write a model with the router's weights [n, 3] (base, directional, temporal; static rows first) as columns."""
    save_ex4dgs(expert, folder, iteration)
    target, static = folder / "point_cloud" / f"iteration_{iteration}", expert.static.means.shape[0]
    append_columns(target / STATIC_FILE, weights[:static])
    append_columns(target / DYNAMIC_FILE, weights[static:], MOTION_PREFIX)


def read_routed_ex4dgs(folder: Path, iteration: int | None = None) -> Tensor | None:
    """The router's weights [n, 3] (base, directional, temporal; static rows first) of a saved pair, or None."""
    _, source = find_iteration(folder, iteration)
    return read_columns_of(
        [(source / STATIC_FILE, ""), (source / DYNAMIC_FILE, MOTION_PREFIX)], parts="its two PLY files"
    )


def _chosen_chkpnt(path: Path, iteration: int | None) -> Path | None:
    if path.is_file():
        return path
    chkpnts = find_chkpnts(path)
    if not chkpnts:
        return None
    try:
        iteration, folder = find_iteration(path, iteration)
    except CheckpointError:
        return chkpnts[max(chkpnts) if iteration is None else iteration] if iteration in (None, *chkpnts) else None
    paired = (folder / STATIC_FILE).is_file() and (folder / DYNAMIC_FILE).is_file()
    return None if paired else chkpnts.get(iteration)


def _read_pair(path: Path, iteration: int | None) -> Parts:
    iteration, folder = find_iteration(path, iteration)
    files = (folder / STATIC_FILE, folder / DYNAMIC_FILE)
    return Parts(files=files, iteration=iteration, static=_read_static(files[0]), dynamic=_read_dynamic(files[1]))


def _read_static(path: Path) -> StaticGaussians:
    table = read_ply(path)
    return StaticGaussians(
        means=select(table, POSITION),
        displacements=select(table, DISPLACEMENT),
        log_scales=select(table, SCALES),
        quats=select(table, QUATS),
        opacity_logits=select(table, OPACITY).squeeze(1),
        **select_sh(table),
    )


def _read_dynamic(path: Path) -> DynamicGaussians:
    table = read_ply(path)
    count, keyframes = len(table.matrix), sum(name.startswith("motion_xyz_") for name in table.names) // 3
    return DynamicGaussians(
        means=select(table, keyframe_columns("xyz", keyframes, 3)).reshape(count, keyframes, 3),
        quats=select(table, keyframe_columns("rot", keyframes, 4)).reshape(count, keyframes, 4),
        log_scales=select(table, [f"{MOTION_PREFIX}{name}" for name in SCALES]),
        opacity_logits=select(table, ["motion_opacity"]).squeeze(1),
        opacity_centres=select(table, numbered("motion_opacity_c_", 2)),
        opacity_log_widths=select(table, numbered("motion_opacity_v_", 2)),
        **select_sh(table, MOTION_PREFIX),
    )


def _timeline(
    settings: CheckpointSettings, options: LoadOptions, stored: StoredTime | None, *, keyframes: int
) -> KeyframeTimeline:
    kind = cast(Interpolation, settings.choice("interp_type", "cube", INTERPOLATIONS))
    settings.choice("rot_interp_type", "slerp", ("slerp",))
    var_pad = settings.number("var_pad", 3)
    if stored is not None:
        times = f"duration {stored.duration:g} {_MOTION}, time_interval {stored.interval:g} frames"
        settings.notes.append(f"{times} (stored in the chkpnt)")
        pad = stored.shift if kind == "linear" else stored.shift - stored.interval
        return KeyframeTimeline(
            duration=stored.duration, interval=stored.interval, pad=pad, var_pad=var_pad, interpolation=kind
        )
    return KeyframeTimeline(
        duration=settings.number("duration", options.num_frames or 300, above=0, unit=_MOTION),
        interval=settings.number("time_interval", 10, above=0, unit="frames"),
        pad=settings.number("time_pad", 3 if 0 < keyframes <= _TECHNICOLOR_KEYFRAMES else 2),
        var_pad=var_pad,
        interpolation=kind,
    )


def _cfg_args(expert: Ex4DGS) -> dict[str, object]:
    black = background_setting(expert.background, white=True)
    return {
        "sh_degree": 3,
        "interp_type": expert.timeline.interpolation,
        "rot_interp_type": "slerp",
        "time_interval": expert.timeline.interval,
        "time_pad": expert.timeline.pad,
        "var_pad": expert.timeline.var_pad,
        "kernel_size": expert.low_pass,
        "duration": expert.timeline.duration,
        "near": expert.near,
        "far": expert.far,
        **({_RANDOM_BACKGROUND: False, **black} if black else {}),
    }
