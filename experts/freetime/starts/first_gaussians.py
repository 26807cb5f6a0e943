"""Start of FreeTime's training without networks: Gaussians of what stands still, and of what moves at keyframes.

The split is SharpTimeGS's; keyframes, and moments spread between them, are FreeTimeGS++'s.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

from common.text.wording import counted
from experts.freetime.starts.keyframes import Keyframe, Moving, best_source, find_keyframes, static_points
from experts.freetime.starts.velocities import neighbour_velocities, spacings
from experts.training.gaussians.initial import neighbour_log_scales
from experts.training.start import TrainingStart

logger = logging.getLogger(__name__)

Velocities = Literal["neighbours", "zero"]

STATIC_OPACITY, COPY_OPACITY, MOVING_OPACITY = 0.1, 0.05, 0.5
STATIC_GATE, MOVING_GATE = 0.9, 0.02  # the latter shows at opacity 0.01 beyond its life, so that images judge the gate
STATIC_DURATION = 3.0  # frames; without gates: clips
MOVING_DURATION, LEAST_DURATION = 0.6, 2.0  # keyframe gaps; frames
_LEAST_SCALE = math.sqrt(1e-7)  # 3DGS's


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeTimeStart:
    """First Gaussians of a FreeTime model, activated, in data units and frames; all float32 on one device."""

    means: Tensor  # [n, 3] at their moments
    colours: Tensor  # [n, 3] RGB in 0 ... 1
    scales: Tensor  # [n, 3]
    opacities: Tensor  # [n]
    times: Tensor  # [n] moments, frames; some lie up to half a keyframe gap outside the clip
    durations: Tensor  # [n] standard deviations of lives, frames
    velocities: Tensor  # [n, 3] units per frame
    gates: Tensor  # [n] in 0 ... 1; 0 for a model without gates

    @property
    def count(self) -> int:
        return len(self.times)


def free_time_start(
    start: TrainingStart,
    *,
    count: int,
    keyframe_every: int = 10,
    moving: Moving | None = None,
    velocities: Velocities = "neighbours",
    has_gates: bool = True,
    seed: int | None = None,
) -> FreeTimeStart:
    """First Gaussians: half of `count` of what stands still, at most half of what moves; all still if nothing moves.

    Static ones stand on the start points of the first frame there is, with jittered, fainter copies up to their half.
    Moving ones come from keyframes, `keyframe_every` frames apart or a little less: "clouds", the start points of their
    frames; "sweep", plane sweeps of the training images; None: clouds where start points are of several frames, else
    sweeps where the clip allows them. has_gates: False for a model without gates, where static Gaussians last three
    clips. seed: None is the start's. ValueError without start points, and where the asked source is not there.
    """
    if start.points.count == 0:
        raise ValueError("FreeTime: no start points; give a point cloud of the scene, or random points in its box")
    if count < 2 or keyframe_every < 1:
        raise ValueError(f"FreeTime: {count} Gaussians, keyframes every {keyframe_every} frames: give 2 and 1 or more")
    generator = torch.Generator().manual_seed(start.seed if seed is None else seed)
    source, begun = moving or best_source(start.points, start.views), time.perf_counter()
    keyframes = find_keyframes(start.points, start.views, source, every=keyframe_every, generator=generator)
    moving_set = _moving_set(keyframes, count // 2, velocities, generator, has_gates=has_gates)
    room = count - count // 2 if moving_set else count
    static_set = _static_set(start, room, generator, has_gates=has_gates)
    result = _joined([static_set, *moving_set])
    _log(keyframes, source, result, static=static_set.count, seconds=time.perf_counter() - begun)
    return result


def moving_gaussians(
    keyframes: Sequence[Keyframe], room: int, generator: torch.Generator, *, has_gates: bool, opacity: float
) -> FreeTimeStart | None:
    """At most `room` Gaussians of keyframes' points, of one opacity, without velocities; None where there are none."""
    found = _moving_set(keyframes, room, "zero", generator, has_gates=has_gates)
    if not found:
        return None
    joined = _joined(found)
    return replace(joined, opacities=torch.full_like(joined.opacities, opacity))


def _static_set(start: TrainingStart, room: int, generator: torch.Generator, *, has_gates: bool) -> FreeTimeStart:
    """As many Gaussians as there is room for: on points or some of them, and on copies jittered by their spacing."""
    points = static_points(start.points)
    device, num_frames = points.positions.device, start.views.num_frames
    kept = torch.randperm(points.count, generator=generator)[:room].sort().values
    copied = torch.randint(points.count, (room - len(kept),), generator=generator)
    rows = torch.cat([kept, copied]).to(device)
    drawn = torch.cat([torch.zeros(len(kept), 3), torch.randn((len(copied), 3), generator=generator) / math.sqrt(3)])
    means = points.positions[rows] + drawn.to(device) * spacings(points.positions)[rows, None]
    opacities = torch.cat([torch.full((len(kept),), STATIC_OPACITY), torch.full((len(copied),), COPY_OPACITY)])
    return FreeTimeStart(
        means=means,
        colours=points.colours[rows],
        scales=neighbour_log_scales(means).exp(),
        opacities=opacities.to(device),
        times=means.new_full((room,), 0.5 * (num_frames - 1)),
        durations=means.new_full((room,), STATIC_DURATION if has_gates else STATIC_DURATION * num_frames),
        velocities=torch.zeros_like(means),
        gates=means.new_full((room,), STATIC_GATE if has_gates else 0.0),
    )


def _moving_set(
    keyframes: Sequence[Keyframe], room: int, velocities: Velocities, generator: torch.Generator, *, has_gates: bool
) -> list[FreeTimeStart]:
    """Gaussians of each keyframe, of all points alike if there is not room for all; their moments are spread."""
    counts = [len(keyframe.points.positions) for keyframe in keyframes]
    chosen = torch.zeros(sum(counts), dtype=torch.bool)
    chosen[torch.randperm(len(chosen), generator=generator)[:room]] = True
    found = []
    for number, (keyframe, few) in enumerate(zip(keyframes, chosen.split(counts), strict=True)):
        motion = torch.zeros_like(keyframe.points.positions)
        if velocities == "neighbours" and len(keyframes) > 1:
            following = keyframes[number + 1 if number + 1 < len(keyframes) else number - 1]
            gap = following.frame - keyframe.frame
            motion = neighbour_velocities(keyframe.points, following.points, gap=gap)
        found.append(_moving(keyframe, motion, few, generator, gate=MOVING_GATE if has_gates else 0.0))
    return [some for some in found if some.count > 0]


def _moving(
    keyframe: Keyframe, motion: Tensor, few: Tensor, generator: torch.Generator, *, gate: float
) -> FreeTimeStart:
    """Some of a keyframe's points, where they are at moments up to half a gap before or after it.

    Points lie on surfaces: where one of k stays, spacings grow by the root of k.
    """
    rows = few.nonzero().squeeze(1).to(motion.device)
    offsets = (keyframe.gap * (torch.rand(len(rows), generator=generator) - 0.5)).to(motion)
    wider = math.sqrt(len(few) / max(1, len(rows)))
    scales = (wider * spacings(keyframe.points.positions)[rows]).clamp(min=_LEAST_SCALE)
    return FreeTimeStart(
        means=keyframe.points.positions[rows] + (1 - gate) * offsets[:, None] * motion[rows],
        colours=keyframe.points.colours[rows],
        scales=scales[:, None].repeat(1, 3),
        opacities=torch.full_like(offsets, MOVING_OPACITY),
        times=keyframe.frame + offsets,
        durations=torch.full_like(offsets, max(LEAST_DURATION, MOVING_DURATION * keyframe.gap)),
        velocities=motion[rows],
        gates=torch.full_like(offsets, gate),
    )


def _joined(parts: Sequence[FreeTimeStart]) -> FreeTimeStart:
    names = [field.name for field in fields(FreeTimeStart)]
    return FreeTimeStart(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _log(keyframes: Sequence[Keyframe], source: Moving, result: FreeTimeStart, *, static: int, seconds: float) -> None:
    counts = [len(keyframe.points.positions) for keyframe in keyframes]
    copies = int((result.opacities[:static] == COPY_OPACITY).sum())
    logger.info("start: %s that stand still, %s of them jittered copies", counted(static, "Gaussian"), f"{copies:,}")
    took = f'moving points from "{source}" in {seconds:.1f} s'
    if not counts:
        logger.info("start: %s: nothing found that moves", took)
        return
    speeds = result.velocities[static:].norm(dim=1)
    logger.info(
        "start: %s: %s at %s (%s to %s each), of which %s became Gaussians, %.0f %% with a velocity",
        took,
        counted(sum(counts), "point"),
        counted(len(counts), "keyframe"),
        f"{min(counts):,}",
        f"{max(counts):,}",
        f"{result.count - static:,}",
        100 * float((speeds > 0).float().mean()),
    )
