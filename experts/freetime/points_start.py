"""FreeTime's first Gaussians from start points alone: a static set, and what only later frames' clouds have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.freetime.model import FreeTime
from experts.freetime.new_model import model_from_start
from experts.freetime.recipe import FreeTimeRecipe
from experts.training.initial import neighbour_log_scales
from experts.training.start import StartPoints, TrainingStart

MOVING_SHARE = 0.5  # of the budget, at most
STATIC_GATE, STATIC_DURATION, STATIC_OPACITY = 0.9, 3.0, 0.1
COPY_OPACITY = 0.05  # of jittered copies, which fill the budget
MOVING_GATE, MOVING_OPACITY = 0.018, 0.5  # together an opacity of 0.01, which images show and can raise or lower
LEAST_DURATION, DURATION_OF_GAP = 2.0, 0.6  # frames; of the gap between the frames that have points


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsStart:
    """Gaussians on points, activated; time in frames."""

    means: Tensor
    colours: Tensor
    scales: Tensor
    opacities: Tensor
    times: Tensor
    durations: Tensor
    velocities: Tensor
    gates: Tensor


def start_model(recipe: FreeTimeRecipe, start: TrainingStart) -> FreeTime:
    """The model that training starts from, on the points' device; raises ValueError without points."""
    if start.points.count == 0:
        raise ValueError("FreeTime: no start points; give a point cloud of the scene, or random points in its box")
    camera = start.views.cameras[0]
    budget = recipe.budget(camera.width * camera.height)
    values = points_start(start.points, budget=budget, num_frames=start.views.num_frames)
    return model_from_start(values, recipe, start.views.num_frames).to(start.points.positions.device)


def points_start(points: StartPoints, *, budget: int, num_frames: int) -> PointsStart:
    """So many Gaussians: up to half of what later frames add, the rest the first frame's points and jittered copies.

    A point of a later frame is moving where it is farther than the usual spacing from all of the first frame's. The
    same points give the same Gaussians: they are what measures against over-fitting take as the scene's depths.
    """
    generator = torch.Generator().manual_seed(0)
    points = points.to("cpu")
    frames = torch.zeros(points.count) if points.frames is None else points.frames
    first = frames == frames.min()
    moving = _moving(points.positions, first)
    later = _chosen((~first & moving).nonzero().squeeze(1), int(MOVING_SHARE * budget), generator)
    static = _static_set(points, first, budget - len(later), num_frames, generator)
    parts = [static, _moving_set(points, later, frames)] if len(later) else [static]
    return PointsStart(**{name: torch.cat([getattr(part, name) for part in parts]) for name in PointsStart.__slots__})


def _moving(positions: Tensor, first: Tensor) -> Tensor:
    """Mask [n] of points farther than the first frame's usual spacing from all points of the first frame."""
    from scipy.spatial import cKDTree  # here: importing it takes as long as all experts

    spacing = neighbour_log_scales(positions[first]).exp()[:, 0].median()
    distances, _ = cKDTree(positions[first].double().numpy()).query(positions.double().numpy())
    return torch.from_numpy(distances).float() > spacing


def _static_set(
    points: StartPoints, first: Tensor, count: int, num_frames: int, generator: torch.Generator
) -> PointsStart:
    rows = _chosen(first.nonzero().squeeze(1), count, generator)
    means, colours = points.positions[rows], points.colours[rows]
    scales = neighbour_log_scales(means).exp()
    copies = torch.randint(len(rows), (count - len(rows),), generator=generator)
    jitter = scales[copies] * torch.randn(len(copies), 3, generator=generator)
    means = torch.cat([means, means[copies] + jitter])
    opacities = torch.full((count,), STATIC_OPACITY)
    opacities[len(rows) :] = COPY_OPACITY
    return _standing(
        means,
        torch.cat([colours, colours[copies]]),
        scales=neighbour_log_scales(means).exp(),
        times=torch.full((count,), (num_frames - 1) / 2),
        duration=STATIC_DURATION,
        gate=STATIC_GATE,
        opacities=opacities,
    )


def _moving_set(points: StartPoints, rows: Tensor, frames: Tensor) -> PointsStart:
    moments = frames.unique()
    gap = float(moments.diff().median()) if len(moments) > 1 else 1.0
    means, count = points.positions[rows], len(rows)
    return _standing(
        means,
        points.colours[rows],
        scales=neighbour_log_scales(means).exp(),
        times=frames[rows].float(),
        duration=max(LEAST_DURATION, DURATION_OF_GAP * gap),
        gate=MOVING_GATE,
        opacities=torch.full((count,), MOVING_OPACITY),
    )


def _standing(
    means: Tensor, colours: Tensor, *, scales: Tensor, times: Tensor, duration: float, gate: float, opacities: Tensor
) -> PointsStart:
    return PointsStart(
        means=means,
        colours=colours,
        scales=scales,
        opacities=opacities,
        times=times,
        durations=torch.full_like(times, duration),
        velocities=torch.zeros_like(means),
        gates=torch.full_like(times, gate),
    )


def _chosen(rows: Tensor, room: int, generator: torch.Generator) -> Tensor:
    """At most `room` of some indices, a random choice in their order."""
    if len(rows) <= room:
        return rows
    return rows[torch.randperm(len(rows), generator=generator)[:room]].sort().values
