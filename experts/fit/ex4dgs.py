"""A small Ex4DGS from tracked points: keyframes read off the tracks, then optimised."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..ex4dgs import DynamicGaussians, Ex4DGS, StaticGaussians
from ..ex4dgs_motion import Timeline
from ..harmonics import split_sh
from ..initial import identity_quats, logits, sh_from_colours
from .loop import Rates
from .points import TrackedPoints, body_log_scales, sample_tracks, take

EX4DGS_RATES: Rates = {
    "static.means": (1.2e-3, 1.2e-4),
    "static.log_scales": (2e-2, 4e-3),
    "static.quats": (1e-2, 2e-3),
    "static.opacity_logits": (5e-2, 1e-2),
    "static.sh": (1e-2, 2e-3),
    "dynamic.means": (2.4e-3, 2.4e-4),
    "dynamic.log_scales": (2e-2, 4e-3),
    "dynamic.quats": (1e-2, 2e-3),
    "dynamic.opacity_logits": (5e-2, 1e-2),
    "dynamic.opacity_centres": (1e-2, 1e-3),
    "dynamic.sh": (1e-2, 2e-3),
}

ALWAYS_MARGIN = 5.0  # keyframes beyond the clip at which the opacity window of what is always there opens and shuts
SHARP = -2.0  # log width in keyframes of the edge of something that appears


def initial_ex4dgs(
    points: TrackedPoints, *, near: float, far: float, interval: float = 5.0, pad: float = 2.0, opacity: float = 0.7
) -> Ex4DGS:
    """Still points become static Gaussians, the others dynamic ones whose keyframes are sampled from the tracks.

    interval and pad: Ex4DGS's time_interval and time_pad, frames.
    """
    timeline = Timeline(duration=points.num_frames, interval=interval, pad=pad)
    moving = points.bodies >= 0
    return Ex4DGS(
        static=_static(take(points, ~moving), opacity),
        dynamic=_dynamic(take(points, moving), timeline, opacity),
        timeline=timeline,
        near=near,
        far=far,
    )


def _static(points: TrackedPoints, opacity: float) -> StaticGaussians:
    means = points.tracks[:, 0]
    return StaticGaussians(
        means=means.clone(),
        displacements=torch.zeros_like(means),
        log_scales=body_log_scales(points, 0),
        quats=identity_quats(points.count),
        opacity_logits=logits(points.count, opacity),
        **split_sh(sh_from_colours(points.colours)),
    )


def _dynamic(points: TrackedPoints, timeline: Timeline, opacity: float) -> DynamicGaussians:
    last = timeline.position(points.num_frames - 1)
    keyframes = math.floor(last) + 3  # the interpolation reads one before and two after the current one
    frames = torch.arange(keyframes) * timeline.interval - timeline.shift
    return DynamicGaussians(
        means=sample_tracks(points, frames),
        quats=identity_quats(points.count)[:, None].repeat(1, keyframes, 1),
        log_scales=body_log_scales(points, points.num_frames // 2),
        opacity_logits=logits(points.count, opacity),
        opacity_centres=_windows(points, timeline),
        opacity_log_widths=torch.full((points.count, 2), SHARP),
        **split_sh(sh_from_colours(points.colours)),
    )


def _windows(points: TrackedPoints, timeline: Timeline) -> Tensor:
    """Where the opacity of each point opens and shuts, [n, 2] in keyframes: half a frame outside its presence."""
    present = points.present.float()
    first, last = present.argmax(dim=1), points.num_frames - 1 - present.flip(1).argmax(dim=1)
    opens = (first - 0.5 + timeline.shift) / timeline.interval
    shuts = (last + 0.5 + timeline.shift) / timeline.interval
    opens = torch.where(first == 0, opens - ALWAYS_MARGIN, opens)
    return torch.stack([opens, torch.where(last == points.num_frames - 1, shuts + ALWAYS_MARGIN, shuts)], dim=1)
