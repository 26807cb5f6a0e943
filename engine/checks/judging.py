"""Judges a run's experts: their images at a few training views are compared with the frames and each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from common.text.wording import counted
from engine.checks.causes import (
    GAIN,
    try_background,
    try_camera_order,
    try_later_frames,
    try_near_planes,
    try_without_far_plane,
)
from engine.checks.clip_length import ClipLength, has_clock
from engine.checks.probes import Probe, decibels, image_and_splat, ready_views, spread_probes, squared_error
from engine.checks.verdict import UNKNOWN, ExpertVerdict, Verdict
from engine.runs.device import ComputeDevice
from engine.runs.experts.images import image_of
from experts.base import Expert
from experts.formats.cfg_args import named_scene, read_cfg_args
from router.novel_views import PLAIN, NovelViews
from scenes import Scene

POOR = 15.0  # dB at training views, below which an expert does not show the scene
FAR_UNDER = 5.0  # dB under the median of the other experts
ORDER_BELOW = 22.0  # dB of the best expert, below which the order of the cameras is looked at
START_GAIN = 0.3  # dB by which later frames have to fit better before the start is named
NO_CLOCK_GAIN = 0.5  # dB by which another clip length has to be better before it is named


def judge(
    scene: Scene,
    experts: Sequence[Expert],
    *,
    clips: Mapping[str, ClipLength],
    compute: ComputeDevice,
    novel: NovelViews = PLAIN,
) -> Verdict:
    """Renders every expert at up to three views, and looks for causes where one does not fit the frames.

    Views are training views; where a rendering needed only the held-out ones, those, with the rules for novel views.
    Causes that these would name for a good expert too are then left out: Gaussians that float before a new camera, and
    holes where nobody looked.

    clips: of `settle_clip_lengths`, by name.
    """
    ready = ready_views(scene)
    if not ready:
        return Verdict(experts=(), order=None, views=())
    probes = spread_probes(scene, ready, compute)
    measured = [_measure(expert, probes, clips.get(expert.name), compute, novel) for expert in experts]
    best = max(range(len(measured)), key=lambda index: measured[index].psnr)
    is_late = any(clip.later for clip in clips.values())  # else moving things are taken for moved cameras
    is_low = measured[best].psnr < ORDER_BELOW and not is_late
    order = try_camera_order(scene, ready, experts[best], compute) if is_low else None
    if order is None or not order.is_wrong:
        measured = [
            _with_causes(each, expert, measured, probes, compute, scene=scene)
            for each, expert in zip(measured, experts, strict=True)
        ]
    views = tuple(f"{scene.views[probe.view].name} at frame {probe.frame}" for probe in probes)
    return Verdict(experts=tuple(measured), order=order, views=views)


def _measure(
    expert: Expert, probes: Sequence[Probe], clip: ClipLength | None, compute: ComputeDevice, novel: NovelViews
) -> ExpertVerdict:
    plane = try_near_planes(expert, probes, compute=compute)
    is_new = any(probe.number is None for probe in probes)
    psnr = _scored_psnr(expert, probes, compute, novel) if is_new else plane.own_psnr
    alphas = [float(image_and_splat(expert, probe, compute=compute)[1].alpha.mean()) for probe in probes]
    return ExpertVerdict(name=expert.name, psnr=psnr, coverage=float(np.mean(alphas)), plane=plane, clip=clip)


def _scored_psnr(expert: Expert, probes: Sequence[Probe], compute: ComputeDevice, novel: NovelViews) -> float:
    """The mean PSNR with the rules for novel views, which training cameras do not have."""
    found = []
    for each in probes:
        image = image_of(expert, each.camera, each.frame, compute=compute, camera_number=each.number, novel=novel)
        found.append(decibels(squared_error(image.clamp(0, 1), each.truth)))
    return float(np.mean(found))


def _with_causes(
    each: ExpertVerdict,
    expert: Expert,
    measured: Sequence[ExpertVerdict],
    probes: Sequence[Probe],
    compute: ComputeDevice,
    *,
    scene: Scene,
) -> ExpertVerdict:
    """A measured expert with the likely causes of its faults."""
    others = [other.psnr for other in measured if other is not each]
    is_poor = each.psnr < POOR or (bool(others) and each.psnr < float(np.median(others)) - FAR_UNDER)
    is_trained = all(probe.view in scene.train for probe in probes)
    found = [
        _near_cause(each, is_trained=is_trained),
        _far_cause(each, expert, probes, compute),
        _start_cause(each, expert, probes, compute, scene=scene) or _clip_cause(each, expert),
    ]
    causes = [cause for cause in found if cause is not None]
    if not causes and is_trained:
        background = try_background(expert, probes, psnr=each.psnr, compute=compute)
        if background is not None:
            causes.append(f"a {background} background fits better: mend white_background in its cfg_args")
    is_unknown = is_poor and not causes
    return replace(
        each,
        causes=(_foreign(expert, scene),) if is_unknown else tuple(causes),
        is_poor=is_poor,
        is_unknown=is_unknown,
    )


def _far_cause(each: ExpertVerdict, expert: Expert, probes: Sequence[Probe], compute: ComputeDevice) -> str | None:
    gain = try_without_far_plane(expert, probes, psnr=each.plane.own_psnr, compute=compute)
    if gain < GAIN:
        return None
    return (
        f"its far plane, {expert.settings.far:.3g}, culls what it shows; without one it reaches "
        f"{each.plane.own_psnr + gain:.1f} dB: give a larger --far"
    )


def _start_cause(
    each: ExpertVerdict, expert: Expert, probes: Sequence[Probe], compute: ComputeDevice, *, scene: Scene
) -> str | None:
    later = each.clip.later if each.clip is not None else 0
    gain = 0.0 if later else try_later_frames(expert, probes, scene.start, psnr=each.plane.own_psnr, compute=compute)
    if not later and gain < START_GAIN:
        return None
    return (
        f"its frames fit better {scene.start} frames later: it was trained on the footage from frame 0, and the clip "
        f"begins at frame {scene.start}; give --start_timestamp 0, or an expert of this clip"
    )


def _near_cause(each: ExpertVerdict, *, is_trained: bool) -> str | None:
    plane = each.plane
    if plane.gain < GAIN or (plane.near > plane.own and not is_trained):
        return None
    if plane.near < plane.own:
        fault = f"its near plane, {plane.own:.3g}, culls {plane.culled:.1%} of the Gaussians in view"
    else:
        fault = f"Gaussians close to the cameras hide others, its near plane is {plane.own:.3g}"
    return f"{fault}; with --near {plane.near:.2g} it reaches {plane.psnr:.1f} dB"


def _clip_cause(each: ExpertVerdict, expert: Expert) -> str | None:
    clip = each.clip
    if clip is None or not has_clock(expert) or not clip.is_clear or clip.gain(expert.num_frames) < NO_CLOCK_GAIN:
        return None
    return (
        f"its clock runs as if trained on {counted(expert.num_frames, 'frame')}; {clip.best:,} fit better by "
        f"{clip.gain(expert.num_frames):.1f} dB: give --expert_frames {each.name}={clip.best}"
    )


def _foreign(expert: Expert, scene: Scene) -> str:
    """The cause where nothing else was found; with the scene that the expert's cfg_args name, if it is another."""
    for folder in [parent for path in expert.provenance.files[:1] for parent in path.parents]:
        cfg_args = read_cfg_args(folder)
        named = named_scene(cfg_args)
        if cfg_args is not None and named is not None:
            is_other = named != scene.name
            return f"likely another scene's model (cfg_args names {cfg_args['source_path']})" if is_other else UNKNOWN
    return UNKNOWN
