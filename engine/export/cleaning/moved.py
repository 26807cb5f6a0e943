"""Gaussians that files move: backgrounds of far training cameras that stand where a viewer stands.

Across a rig that surrounds its scene, a camera's background may be anywhere along its rays. No other camera holds it in
its place. A new camera there has it right before its lens, so that a few Gaussians fill its picture. Players have no
rule for them. Scaled about its camera a Gaussian keeps its look there. So files have them behind the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor

from common.maths.vectors import unit
from experts.base import Expert
from experts.novel_views import NovelViewCulling
from experts.training.generalisation.removal import of_one_view

BELL = 0.5  # standard deviation by which cameras count at a place, in distances between neighbouring cameras
MOST = 0.5  # of a Gaussian's blending weight in one training view, from which on it may move along that view's rays
MOST_IN_GAPS = 0.3  # the same in gaps of the rig, where no camera is near enough to hold it in its place
GAPS = (0.7, 1.1)  # distances to the nearest camera, in those between neighbours: farther is beside the rig
LARGE = 0.3  # near planes: standard deviation of a Gaussian that hides a picture whichever cameras it serves
BEHIND = 0.1  # near planes before a viewer, where players' own near plane hides what others would see
FARTHEST = 2.0  # times as far from its camera as before: farther, a Gaussian would be somewhere else
STEP = 0.02  # of these factors
BLOCK = 1 << 16  # places at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Gaussians that are scaled about a place; a factor of 1 leaves them."""

    about: Tensor  # [n, 3]
    factors: Tensor  # [n]

    @property
    def rows(self) -> Tensor:
        """Mask [n] of those that move."""
        return self.factors > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """The surface on which cameras stand."""

    centres: Tensor  # [c, 3]
    axes: Tensor  # [c, 3], unit, along which they look
    spacing: float  # median distance of a camera to the nearest other one

    def depths(self, places: Tensor) -> Tensor:
        """Depths [n] of places [n, 3] before viewers who stand on the rig next to them, and look as cameras there do.

        A mean over cameras, by a bell of their distance. A camera's own axis makes places too deep on a rig that is
        curved, the mean axis makes them too little deep by as much: the mean of both is exact on planes and spheres.
        """
        return torch.cat([self._depths(some) for some in places.split(BLOCK)])

    def _depths(self, places: Tensor) -> Tensor:
        offsets = places[:, None] - self.centres
        bells = (-(offsets.norm(dim=2) / (BELL * self.spacing)).square() / 2).softmax(dim=1)
        axes = (self.axes + unit(bells @ self.axes)[:, None]) / 2
        return (bells * (offsets * axes).sum(dim=2)).sum(dim=1)

    def in_gaps(self, places: Tensor) -> Tensor:
        """Mask [n] of places [n, 3] that are as far from all cameras as a viewer in a gap between these."""
        nearest = torch.cat([torch.cdist(some, self.centres).amin(dim=1) for some in places.split(BLOCK)])
        return (nearest > GAPS[0] * self.spacing) & (nearest < GAPS[1] * self.spacing)


def rig_of(cameras: Sequence[Camera], *, device: torch.device) -> Rig:
    """The rig of some cameras; one alone speaks for all places, and those that share their centre for none (nan)."""
    centres = torch.stack([camera.centre for camera in cameras]).float().to(device)
    distances = torch.cdist(centres, centres).fill_diagonal_(torch.inf)
    axes = torch.stack([camera.world_to_camera[2, :3] for camera in cameras]).float().to(device)
    return Rig(centres=centres, axes=axes, spacing=float(distances.amin(dim=1).median()))


def moves_behind_viewers(
    cameras: Sequence[Camera],
    culling: NovelViewCulling,
    *,
    weights: Tensor,
    places: Tensor,
    sizes: Tensor,
) -> Moves:
    """Moves along the rays of the training cameras that show a Gaussian, until viewers have it behind them.

    They are scaled about the mean of those cameras, by squared weight: what one alone shows looks the same there.

    One moves if a viewer on the rig next to it has it before the near plane of new views, no training camera sees it
    from as close, and either one training camera has MOST of its weight, MOST_IN_GAPS there, or it is LARGE.

    weights [cameras, n]: blending weights at training views. places [n, 3], sizes [n]: where it is most opaque, and
    the standard deviation along its longest axis there.
    """
    still = torch.ones_like(sizes)
    rig = rig_of(cameras, device=places.device)
    about = _shares(weights.square()).T @ rig.centres
    depths = rig.depths(places)
    before = (depths > BEHIND * culling.near) & (depths < culling.near)
    of_few = of_one_view(weights, MOST) | (rig.in_gaps(places) & of_one_view(weights, MOST_IN_GAPS))
    chosen = before & (of_few | (sizes > LARGE * culling.near)) & (weights.amax(dim=0) > 0)
    rows = torch.nonzero(chosen)[:, 0]
    rows = rows[~culling.seen(places[rows], depths[rows])]
    found = still[rows]
    for step in range(round((FARTHEST - 1) / STEP), 0, -1):
        factor = 1 + STEP * step
        behind = rig.depths(about[rows] + factor * (places[rows] - about[rows])) <= BEHIND * culling.near
        found[behind] = factor  # from far to near, so that the nearest remains
    return Moves(about=about, factors=still.index_copy(0, rows, found))


def _shares(values: Tensor) -> Tensor:
    """Values [c, n] as shares of their sums over the first dimension, 0 where those are 0."""
    return values / values.sum(dim=0).clamp(min=torch.finfo(values.dtype).tiny)


class MovedExpert:
    """An expert with some Gaussians moved."""

    def __init__(self, expert: Expert, moves: Moves) -> None:
        self.expert, self.moves = expert, moves
        self.name, self.background, self.provenance = expert.name, expert.background, expert.provenance

    @property
    def num_gaussians(self) -> int:
        """Those of the expert."""
        return self.expert.num_gaussians

    @property
    def settings(self) -> RasterSettings:
        """Those of the expert."""
        return self.expert.settings

    def rows(self, frame: float) -> slice:
        """Those of the expert."""
        return self.expert.rows(frame)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """The expert's Gaussians at a frame, moved."""
        gaussians, rows = self.expert.at(frame, camera=camera), self.rows(frame)
        about, factors = self.moves.about[rows], self.moves.factors[rows, None]
        means = torch.where(factors > 1, about + factors * (gaussians.means - about), gaussians.means)
        return replace(gaussians, means=means, scales=factors * gaussians.scales)

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """As the expert's."""
        return self.expert.colour(splat, camera, frame=frame)
