"""Gaussians that files leave out: those that training views do not show, and floaters before cameras between them.

Players have no rules for views that nobody trained on. So a file has to do without the Gaussians that those rules
hide, as far as training views can spare them, or has them somewhere else (`moved`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera, Gaussians
from moegs_rasterizer.reference.projection import in_view, view_points
from torch import Tensor

from common.text.progress import tracked
from common.text.wording import counted
from engine.evaluation.scoring import evenly_spread
from engine.export.cleaning.beside import shown_beside
from engine.export.cleaning.moved import MovedExpert, Moves, moves_behind_viewers
from engine.export.cleaning.neighbours import between_neighbours
from engine.export.cleaning.weights import pixel_weights
from engine.export.following.bells import SEEN
from engine.export.players.convention import players_settings
from engine.runs.device import ComputeDevice
from engine.runs.run import Run
from experts.base import Expert
from experts.novel_views import NovelViewCulling
from experts.training.generalisation.removal import of_one_view

logger = logging.getLogger(__name__)

IMAGES = 480  # of training views, in which blending weights are summed; novel ones are at most as many
LEAST_FRAMES = 8
ONE_VIEW = 0.6  # share of a Gaussian's blending weight in one training view, from which on the others can spare it
A_PIXEL = 1.0  # blending weight, summed over pixels, that a floater has in all novel images together
EXAMINED = 0.5  # of the highest opacity of its life, that a Gaussian has in a frame that tells whether it is seen
HIDDEN = 3.0  # times the weight where the rules hide a floater over that where they show it
ASTRAY = 1e5  # median distances from the cameras: numbers of a file would be too coarse for all others, or have no room


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The Gaussians of an expert that a file has, as a mask of its rows [n], and how many it does without."""

    rows: Tensor
    unseen: int
    floaters: int
    beside: int
    moves: Moves | None = None  # None: all stay where they are

    def of(self, expert: Expert) -> Expert:
        """The expert as the file has it, with all rows."""
        return expert if self.moves is None else MovedExpert(expert, self.moves)

    @property
    def moved(self) -> int:
        """The number of those that stand somewhere else in the file."""
        return 0 if self.moves is None else int((self.moves.rows & self.rows).sum())

    def told(self) -> dict[str, int]:
        """Their count, as a file tells it; nothing where all stay."""
        return {"moved_behind_viewers": self.moved} if self.moved else {}

    def facts(self) -> dict[str, int]:
        """The counts of those left out, as a file tells them."""
        return {
            "of": len(self.rows),
            "no_training_view_shows": self.unseen,
            "floaters": self.floaters,
            "shown_beside": self.beside,
        }


def all_rows(expert: Expert, device: torch.device) -> Kept:
    """All Gaussians of an expert."""
    rows = torch.ones(expert.num_gaussians, dtype=torch.bool, device=device)
    return Kept(rows=rows, unseen=0, floaters=0, beside=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """Blending weights of an expert's rows, summed over pixels."""

    sums: Tensor  # [views, n] over frames
    most: Tensor  # [n] in one image
    highest: Tensor  # [n] opacity in these frames
    pictured: Tensor  # mask [n] of those whose centre was in an image
    places: Tensor  # [n, 3] at the frame of the highest opacity
    sizes: Tensor  # [n] standard deviation along the longest axis there


@torch.no_grad()
def kept_rows(run: Run, expert: Expert, *, least: float, floaters: bool, progress: bool = False) -> Kept:
    """The rows of an expert that files need, told to the log.

    A row goes if its centre is in a training image of a spread of frames, but its blending weight, alpha x
    transmittance summed over pixels, is below `least` in all of them: nothing tells what new views need of what lies
    outside of all images. One that is astray, ASTRAY times as far away as others, goes in any case.

    floaters: a row also goes if the run's culling hides it at most cameras between neighbouring training cameras that
    see it, and one training camera has most of its weight; and one outside of all images goes if it is closer to one of
    these cameras than the culling's near plane. Rows that are faint in all of these frames, beside the rest of their
    life, stay. With floaters, what `shown_beside` finds goes too, and what can stand behind viewers stays and moves
    there (`moves_behind_viewers`).
    """
    frames = evenly_spread(run.scene.num_frames, max(LEAST_FRAMES, IMAGES // len(run.scene.train)))
    cameras = [run.scene.views[view].camera for view in run.scene.train]
    found = _training_weights(expert, cameras, frames, run.compute, progress=progress)
    middle = torch.stack([camera.centre for camera in cameras]).mean(dim=0)
    highest, farthest = _lives(expert, run.scene.num_frames, middle)
    examined = found.highest >= EXAMINED * highest.clamp(min=SEEN)
    faint = examined & (found.most < least)
    astray = ~(farthest <= ASTRAY * farthest[farthest > 0].nan_to_num(torch.inf).median()) & (found.most < least)
    unseen = (faint & found.pictured) | astray
    floating, beside = torch.zeros_like(unseen), torch.zeros_like(unseen)
    moves = None
    if floaters:
        beside = ~unseen & shown_beside(expert, cameras, frames, run.compute, progress=progress)
    if floaters and run.novel.culling is not None:
        culling = run.novel.culling
        before_viewers = _hidden_from_viewers(expert, cameras, frames, culling, run.compute, progress=progress)
        floating = examined & before_viewers & of_one_view(found.sums, ONE_VIEW)
        floating |= faint & _close_to_viewers(expert, cameras, frames, culling)
        moves = _moves(found, cameras, culling, movable=examined & ~faint & ~beside)
        floating &= ~unseen & ~beside & ~moves.rows
    kept = Kept(
        rows=~unseen & ~floating & ~beside,
        unseen=int(unseen.sum()),
        floaters=int(floating.sum()),
        beside=int(beside.sum()),
        moves=moves,
    )
    _log_kept(kept, expert.name, floaters=floaters)
    return kept


def _log_kept(kept: Kept, name: str, *, floaters: bool) -> None:
    of = counted(len(kept.rows), "Gaussian")
    logger.info("%s: of %s, %s that no training view shows are left out", name, of, f"{kept.unseen:,}")
    if floaters:
        logger.info("%s: %s before new views left out", name, counted(kept.floaters, "floater"))
    if kept.moved:
        logger.info("%s: %s moved behind new views", name, counted(kept.moved, "Gaussian"))
    if kept.beside:
        large = counted(kept.beside, "Gaussian")
        logger.info("%s: %s left out that players would show from beside the picture", name, large)


def _training_weights(
    expert: Expert, cameras: Sequence[Camera], frames: Sequence[int], compute: ComputeDevice, *, progress: bool
) -> _Weights:
    count = expert.num_gaussians
    sums = torch.zeros(len(cameras), count, device=compute.device)
    most = torch.zeros(count, device=compute.device)
    highest = torch.zeros(count, device=compute.device)
    pictured = torch.zeros(count, dtype=torch.bool, device=compute.device)
    places, sizes = torch.zeros(count, 3, device=compute.device), torch.zeros(count, device=compute.device)
    image = replace(expert.settings, ndc_limit=1.0)
    for number, gaussians in _moments(expert, frames, progress=progress, label="Looking for what nobody sees"):
        rows = expert.rows(number)
        higher = gaussians.opacities > highest[rows]
        places[rows] = torch.where(higher[:, None], gaussians.means, places[rows])
        sizes[rows] = torch.where(higher, gaussians.scales.amax(dim=1), sizes[rows])
        highest[rows] = torch.maximum(highest[rows], gaussians.opacities)
        for index, camera in enumerate(cameras):
            weights = pixel_weights(gaussians, camera, expert.settings, compute)
            sums[index, rows] += weights
            most[rows] = torch.maximum(most[rows], weights)
            pictured[rows] |= in_view(view_points(gaussians.means, camera), camera, image)
    return _Weights(sums=sums, most=most, highest=highest, pictured=pictured, places=places, sizes=sizes)


def _moves(found: _Weights, cameras: Sequence[Camera], culling: NovelViewCulling, *, movable: Tensor) -> Moves:
    moves = moves_behind_viewers(cameras, culling, weights=found.sums, places=found.places, sizes=found.sizes)
    return replace(moves, factors=torch.where(movable, moves.factors, 1))


def _lives(expert: Expert, num_frames: int, middle: Tensor) -> tuple[Tensor, Tensor]:
    """The highest opacity [n] of each row in the clip, and while it is seen the greatest distance [n] from a place."""
    found: Tensor | None = None
    for number in range(num_frames):
        gaussians, rows = expert.at(number), expert.rows(number)
        distances = (gaussians.means - middle.to(gaussians.means)).norm(dim=1)
        distances = torch.where(gaussians.opacities >= SEEN, distances, 0)
        found = distances.new_zeros(2, expert.num_gaussians) if found is None else found
        found[:, rows] = torch.maximum(found[:, rows], torch.stack([gaussians.opacities, distances]))
    assert found is not None, "a clip has a frame"
    return found[0], found[1]


def _hidden_from_viewers(
    expert: Expert,
    cameras: Sequence[Camera],
    frames: Sequence[int],
    culling: NovelViewCulling,
    compute: ComputeDevice,
    *,
    progress: bool,
) -> Tensor:
    """Mask [n] of rows that culling hides from most cameras between the training's, by weight as players show them."""
    novel = between_neighbours(cameras)
    hidden, shown = torch.zeros(2, expert.num_gaussians, device=compute.device)
    settings = replace(expert.settings, near=players_settings(expert.settings).near)
    turns = max(1, -(-len(novel) * len(frames) // IMAGES))  # so that all cameras come up, at some of the frames each
    for turn, (number, gaussians) in enumerate(
        _moments(expert, frames, progress=progress, label="Looking for floaters")
    ):
        for camera in novel[turn % turns :: turns]:
            rows, left = expert.rows(number), culling.cull(gaussians, camera)
            gone = left.opacities < gaussians.opacities
            if gone.any():
                hidden[rows] += gone * pixel_weights(gaussians, camera, settings, compute)
            shown[rows] += pixel_weights(left, camera, settings, compute)
    return (hidden > A_PIXEL) & (hidden > HIDDEN * shown)


def _close_to_viewers(
    expert: Expert, cameras: Sequence[Camera], frames: Sequence[int], culling: NovelViewCulling
) -> Tensor:
    """Mask [n] of rows that are closer to a training camera, or to one between two of them, than the near plane."""
    first = expert.at(frames[0]).means
    centres = torch.stack([camera.centre.to(first) for camera in (*cameras, *between_neighbours(cameras))])
    close = torch.zeros(expert.num_gaussians, dtype=torch.bool, device=first.device)
    for number in frames:
        close[expert.rows(number)] |= torch.cdist(expert.at(number).means, centres).amin(dim=1) < culling.near
    return close


def _moments(expert: Expert, frames: Sequence[int], *, progress: bool, label: str) -> Iterator[tuple[int, Gaussians]]:
    for number in tracked(frames, f"{label} ({expert.name})", unit="frame", shown=progress):
        yield number, expert.at(number)
