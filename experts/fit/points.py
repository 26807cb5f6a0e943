"""Known surface points with tracks, which the small fits start from, and what every fit derives from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..canonical import CanonicalGaussians
from ..harmonics import split_sh
from ..initial import identity_quats, logits, neighbour_log_scales, sh_from_colours

SHARPNESS = math.log(0.7)  # dense known points need less overlap than the sparse clouds that 3DGS starts from


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedPoints:
    """Coloured surface points followed through a clip."""

    tracks: Tensor  # [n, num_frames, 3] world units
    colours: Tensor  # [n, 3] RGB in [0, 1]
    present: Tensor  # [n, num_frames] bool: there at that frame
    bodies: Tensor  # [n] int64: number of the body the point belongs to, -1 for what never moves

    @property
    def count(self) -> int:
        return self.tracks.shape[0]

    @property
    def num_frames(self) -> int:
        return self.tracks.shape[1]


def take(points: TrackedPoints, rows: Tensor) -> TrackedPoints:
    """Some of the points: rows are indices or a mask."""
    return TrackedPoints(
        tracks=points.tracks[rows],
        colours=points.colours[rows],
        present=points.present[rows],
        bodies=points.bodies[rows],
    )


def draw(points: TrackedPoints, *, still: int, moving: int, seed: int) -> Tensor:
    """Indices of at most `still` points that never move, then of at most `moving` others; another seed draws others."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for mask, count in ((points.bodies < 0, still), (points.bodies >= 0, moving)):
        rows = mask.nonzero().squeeze(1)
        chosen.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
    return torch.cat(chosen)


def body_log_scales(points: TrackedPoints, frame: int) -> Tensor:
    """Isotropic log scales [n, 3]: less than the distance to the nearest neighbours on the same body at a frame."""
    scales = torch.empty_like(points.tracks[:, 0])
    for body in points.bodies.unique():
        rows = points.bodies == body
        scales[rows] = neighbour_log_scales(points.tracks[rows, frame]) + SHARPNESS
    return scales


def sample_tracks(points: TrackedPoints, frames: Tensor) -> Tensor:
    """Positions [n, k, 3] at frames [k], fractions allowed: linear between frames and on beyond the first and last."""
    index = frames.floor().long().clamp(0, points.num_frames - 2)
    start, end = points.tracks[:, index], points.tracks[:, index + 1]
    return start + (end - start) * (frames - index)[None, :, None]


def canonical_positions(points: TrackedPoints) -> Tensor:
    """Positions [n, 3] half-way through the clip: the middle of every motion is the nearest to all of it."""
    return points.tracks[:, points.num_frames // 2]


def canonical_gaussians(points: TrackedPoints, opacity: float) -> CanonicalGaussians:
    """3DGS's start at the canonical positions."""
    return CanonicalGaussians(
        means=canonical_positions(points).clone(),
        log_scales=body_log_scales(points, points.num_frames // 2),
        quats=identity_quats(points.count),
        opacity_logits=logits(points.count, opacity),
        **split_sh(sh_from_colours(points.colours)),
    )
