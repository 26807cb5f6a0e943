"""Moving points of a clip at keyframes: from the start points of several frames, or from plane sweeps of its images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from experts.freetime.starts.motion_masks import FEWEST_FRAMES, ClipMotion, MaskedView, shares_moving
from experts.freetime.starts.plane_sweep import nearest_cameras, sweep
from experts.freetime.starts.velocities import MovingPoints, spacings
from experts.training.gaussians.visibility import in_image
from experts.training.start import StartPoints
from experts.training.views import TrainingViews

Moving = Literal["clouds", "sweep", "none"]

LARGEST_SIDE = 480  # px of the images in which motion and depths are looked for
_MASK_SHARE, _MOVING_SHARE = 0.6, 0.4  # of the cameras showing a point: so many have it in their mask, see it move
MOST = 20_000  # points of a keyframe
_FEWEST = 4  # points of a keyframe: fewer have no spacing
_LONELY = 4.0  # median spacings: what is farther from its neighbours is wrong
_DEPTH_SHARES = (0.01, 0.99)  # of the start points that a camera shows: between them lies its sweep
_NEAREST = 1 / 3  # of the farthest depth: a sweep begins there, or nearer


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyframe:
    """The moving points of one frame."""

    frame: int
    gap: float  # frames to the next, or from the one before
    points: MovingPoints


def best_source(points: StartPoints, views: TrainingViews) -> Moving:
    """The best source of moving points: clouds of several frames, else sweeps where the clip allows them."""
    if views.num_frames < FEWEST_FRAMES:
        return "none"
    if cloud_frames(points, views.num_frames):
        return "clouds"
    return "sweep" if _show_depth(views) else "none"


def find_keyframes(
    points: StartPoints, views: TrainingViews, source: Moving, *, every: int, generator: torch.Generator
) -> list[Keyframe]:
    """Moving points of frames about `every` apart; frames at which nothing moves are left out.

    Points count where most cameras showing them have them in their motion masks and others are near. At most
    20,000 a keyframe stay, a random choice. ValueError where the asked source is not there.
    """
    if source == "none":
        return []
    require_enough_frames(views)
    _check(points, views, source)
    in_clouds = cloud_frames(points, views.num_frames)
    frames = spread_frames(views.num_frames, every) if source == "sweep" else apart(in_clouds, every)
    motion = clip_motion(views)
    gaps = [float(later - earlier) for earlier, later in pairwise(frames)] or [float(every)]
    keyframes = []
    for frame, gap in zip(frames, [*gaps, gaps[-1]], strict=False):
        seen = motion.at(frame)
        found = _swept(seen, points) if source == "sweep" else _cloud(points, frame)
        kept = _credible(found, seen, generator)
        if kept is not None:
            keyframes.append(Keyframe(frame=frame, gap=gap, points=kept))
    return keyframes


def clip_motion(views: TrainingViews) -> ClipMotion:
    """The moving parts of a clip, in images whose larger side is LARGEST_SIDE or less."""
    side = max(max(camera.width, camera.height) for camera in views.cameras)
    return ClipMotion(views, factor=math.ceil(side / LARGEST_SIDE))


def spread_frames(num_frames: int, every: int) -> list[int]:
    """Frames from a clip's first to its last, evenly spread, at most so many apart."""
    gaps = max(1, math.ceil((num_frames - 1) / every))
    return sorted({round(number * (num_frames - 1) / gaps) for number in range(gaps + 1)})


def apart(frames: Sequence[int], every: int) -> list[int]:
    """The first of rising frames, and those that are at least so many after the one taken before."""
    taken = [frames[0]]
    for frame in frames[1:]:
        if frame - taken[-1] >= every:
            taken.append(frame)
    return taken


def static_points(points: StartPoints) -> StartPoints:
    """The start points of the first frame that there are any of; all where frames are unknown."""
    if points.frames is None:
        return points
    first = points.frames == points.frames.min()
    return StartPoints(positions=points.positions[first], colours=points.colours[first], frames=points.frames[first])


def cloud_frames(points: StartPoints, num_frames: int) -> list[int]:
    """Rising frames of a clip at which there are start points; none where these tell no time: of fewer than two."""
    if points.frames is None:
        return []
    frames = sorted({round(frame) for frame in points.frames.unique().tolist()})
    inside = [frame for frame in frames if 0 <= frame < num_frames]
    return inside if len(inside) > 1 else []


def _show_depth(views: TrainingViews) -> bool:
    return any(nearest_cameras(views.cameras, 1))


def require_enough_frames(views: TrainingViews) -> None:
    """Raises ValueError for a clip that is too short to tell what moves."""
    if views.num_frames < FEWEST_FRAMES:
        raise ValueError(
            f"FreeTime: moving points need a clip of {FEWEST_FRAMES} frames or more, found {views.num_frames}: "
            'ask for "none"'
        )


def _check(points: StartPoints, views: TrainingViews, source: Moving) -> None:
    if source == "clouds" and not cloud_frames(points, views.num_frames):
        raise ValueError('FreeTime: moving points from "clouds" need start points of several frames; ask for "sweep"')
    if source == "sweep" and not _show_depth(views):
        raise ValueError(
            'FreeTime: moving points from a "sweep" need two cameras that stand apart and look the same way, found '
            f'none such among {len(views.cameras)}: ask for "none"'
        )


def _cloud(points: StartPoints, frame: int) -> MovingPoints:
    assert points.frames is not None
    chosen = points.frames.round() == frame
    return MovingPoints(positions=points.positions[chosen], colours=points.colours[chosen])


def _swept(seen: Sequence[MaskedView], points: StartPoints) -> MovingPoints:
    found = sweep(seen, [depth_limits(view, points.positions) for view in seen])
    return MovingPoints(positions=found.positions, colours=found.colours)


def depth_limits(view: MaskedView, positions: Tensor) -> tuple[float, float] | None:
    """Nearest and farthest depth of a view's sweep, by the start points [n, 3] in its image, or before it.

    All points may lie on what is behind the moving things, so that a sweep begins at a third of its farthest depth, or
    nearer. None where all points lie behind the camera.
    """
    depths, _, shown = in_image(positions, view.camera)
    depths = depths[shown] if bool(shown.any()) else depths[depths > 0]
    if len(depths) == 0:
        return None
    rising = depths.sort().values  # quantile() ends at 16 million values
    near, far = (float(rising[round(share * (len(rising) - 1))]) for share in _DEPTH_SHARES)
    return min(near, _NEAREST * far), far


def without_lonely(points: MovingPoints) -> MovingPoints | None:
    """Those of a keyframe's points that others are near to; None where they are too few to tell."""
    if len(points.positions) < _FEWEST:
        return None
    own = spacings(points.positions)
    near = points.chosen(own <= _LONELY * own.median())
    return near if len(near.positions) >= _FEWEST else None


def _credible(points: MovingPoints, seen: Sequence[MaskedView], generator: torch.Generator) -> MovingPoints | None:
    """Those of a keyframe's points that move in many images and are not alone; at most MOST of them. None: too few."""
    in_masks, moving = shares_moving(points.positions, seen)
    near = without_lonely(points.chosen((in_masks >= _MASK_SHARE) & (moving >= _MOVING_SHARE)))
    if near is None or len(near.positions) <= MOST:
        return near
    few = torch.randperm(len(near.positions), generator=generator)[:MOST].sort().values
    return near.chosen(few.to(near.positions.device))
