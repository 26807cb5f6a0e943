"""Moving Gaussians along the rays of badly shown pixels, set while a training goes on from a start that stands still.

The idea is STG's guided sampling (Li et al., CVPR 2024, section 4.3), in motion masks and at keyframes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from moegs_rasterizer import Camera, Splat
from torch import Tensor

from experts.freetime.model import FreeTime
from experts.freetime.starts.first_gaussians import FreeTimeStart, moving_gaussians
from experts.freetime.starts.keyframes import (
    MOST,
    Keyframe,
    clip_motion,
    require_enough_frames,
    spread_frames,
    without_lonely,
)
from experts.freetime.starts.motion_masks import MaskedView
from experts.freetime.starts.velocities import MovingPoints
from experts.training.gaussians.badly_shown import along_rays, badly_shown
from experts.training.views import TrainingViews

Show = Callable[[int, Sequence[Camera]], Iterator[Splat]]  # the model's images at a frame, from cameras

DEPTHS = (0.7, 1.0, 1.3)  # of new Gaussians on a ray, over the depth that the model shows there
OPACITY = 0.1
_QUANTILE = 0.6  # of an image's errors, above which a pixel is badly shown: STG's


def check_rays(views: TrainingViews, at: Sequence[int], *, iterations: int) -> None:
    """Raises ValueError where a clip is too short for motion masks, or no iteration of a training is in `at`."""
    require_enough_frames(views)
    if not any(1 <= iteration < iterations for iteration in at):
        raise ValueError(
            f'FreeTime: moving is "rays", and rays_at ({", ".join(map(str, at)) or "empty"}) has no iteration before '
            f"the last, {iterations}, so that nothing would move; give some to rays_at"
        )


def gaussians_along_rays(
    views: TrainingViews, show: Show, *, keyframe_every: int, room: int, has_gates: bool, generator: torch.Generator
) -> FreeTimeStart | None:
    """At most `room` Gaussians of opacity 0.1 that live around keyframes, without velocities; None: nothing is bad.

    In each training camera's image at a keyframe, pixels count that are in its motion mask and among the two fifths
    that are shown worst. Three Gaussians of the recorded colour lie on a pixel's ray, around the depth shown there. Of
    too many the choice is random.
    """
    motion = clip_motion(views)
    frames = spread_frames(views.num_frames, keyframe_every)
    gaps = [float(later - earlier) for earlier, later in pairwise(frames)] or [float(keyframe_every)]
    keyframes = []
    for frame, gap in zip(frames, [*gaps, gaps[-1]], strict=False):
        seen = motion.at(frame)
        splats = show(frame, [view.camera for view in seen])
        points = _some([_on_rays(view, splat) for view, splat in zip(seen, splats, strict=True)], generator)
        kept = without_lonely(points)
        if kept is not None:
            keyframes.append(Keyframe(frame=frame, gap=gap, points=kept))
    return moving_gaussians(keyframes, room, generator, has_gates=has_gates, opacity=OPACITY)


def least_seen(model: FreeTime, dead: Tensor, count: int) -> Tensor:
    """Indices [count], rising, of the Gaussians that a clip would miss least: the dead, then the faintest.

    dead: mask [n]. A Gaussian is as faint as in the frame that shows most of it.
    """
    clearest = model.lifespans(model.clearest_frames()) * model.gaussians.opacity_logits.sigmoid()
    order = clearest.detach().masked_fill(dead, 0.0).argsort(stable=True)
    return order[:count].sort().values


def _on_rays(view: MaskedView, splat: Splat) -> tuple[Tensor, Tensor]:
    """Positions [3, m, 3] and colours [m, 3] of the badly shown pixels of a camera that may be of moving things."""
    bad = badly_shown(splat.colour, view.image, _QUANTILE) & view.mask & (splat.depth > 0)
    pixels = bad.nonzero()
    row, column = pixels.unbind(1)
    shares = torch.tensor(DEPTHS).to(splat.depth)
    depths = shares[:, None] * splat.depth[row, column]
    return along_rays(pixels, depths, view.camera), view.image[:, row, column].T


def _some(found: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator) -> MovingPoints:
    """Points of all cameras' rays; no more than MOST, of rays drawn at random."""
    positions, colours = torch.cat([places for places, _ in found], 1), torch.cat([colours for _, colours in found])
    rays = torch.randperm(len(colours), generator=generator)[: MOST // len(DEPTHS)].sort().values.to(colours.device)
    return MovingPoints(positions=positions[:, rays].reshape(-1, 3), colours=colours[rays].repeat(len(DEPTHS), 1))
