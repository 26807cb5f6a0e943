"""Start of STG's training: points of many moments, thinned, each with its moment as the centre of its window."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from experts.formats.harmonics import split_sh
from experts.stg.model import STG, STGSegment
from experts.stg.recipe import STGRecipe, Thinning
from experts.training.gaussians.density import Rows
from experts.training.gaussians.initial import identity_quats, logits, neighbour_log_scales, sh_from_colours
from experts.training.gaussians.neighbours import nearest_neighbours
from experts.training.recipes.recipe_fields import N3V_EXTENT
from experts.training.start import StartPoints, TrainingStart

LARGEST_SCALE = math.e / N3V_EXTENT  # of a first Gaussian, over the extent; in STG's code log scales end at 1
START_SHARE = 0.5  # of the recipe's max_gaussians: the rest is room for what training adds


def start_model(recipe: STGRecipe, start: TrainingStart) -> STG:
    """The untrained model of a clip, which is a segment of the footage or all of it."""
    assert start.planes is not None
    return new_stg(
        start.points,
        recipe,
        first=0,
        num_frames=start.views.num_frames,
        near=start.planes.near,
        far=start.planes.far,
        extent=start.extent,
        seed=start.seed,
    )


def new_stg(
    points: StartPoints,
    recipe: STGRecipe,
    *,
    first: int,
    num_frames: int,
    near: float,
    far: float,
    extent: float,
    seed: int = 0,
) -> STG:
    """An untrained STG (SH variant) of the clip's frames first ... first + num_frames - 1, from coloured points.

    points.frames count from the clip's start. Points of other frames than the segment's are left out, those of its
    frames thinned. Where these are all of one frame, of none of the segment's, or of unknown ones, they are taken to
    be there all the time: all stay, the centres of their windows are spread over the segment at random, and windows
    are no shorter than it. At most half of recipe.density.max_gaussians are kept, a random choice. ValueError without
    points.
    """
    if points.count == 0:
        raise ValueError("STG: no start points; give a point cloud of the scene, or random points in its box")
    generator = torch.Generator().manual_seed(seed)
    rows, times = segment_points(points, first, num_frames)
    if times is None:
        centres = torch.rand(len(rows), generator=generator).to(points.positions)
        log_width = max(0.0, recipe.trbf_log_width)
    else:
        kept = thinned_indices(points.positions[rows], times, recipe.thinning)
        rows, centres, log_width = rows[kept], times[kept], recipe.trbf_log_width
    room = None if recipe.density.max_gaussians is None else int(START_SHARE * recipe.density.max_gaussians)
    few = _few(len(rows), room, generator).to(rows.device)
    raw = fresh_rows(points.positions[rows[few]], points.colours[rows[few]], centres[few], log_width)
    raw["log_scales"] = first_log_scales(raw["means"], extent)
    segment = STGSegment(first=first, num_frames=num_frames, **raw)  # type: ignore[arg-type]
    return STG(segments=[segment], near=near, far=far)


def segment_points(points: StartPoints, first: int, num_frames: int) -> tuple[Tensor, Tensor | None]:
    """Indices of the points of a segment, and their moments: 0 at its first frame, 1 after its last.

    Moments are None where frames tell nothing of time: unknown, or the same for all of the segment's points. All
    points count where none is of the segment.
    """
    everything = torch.arange(points.count, device=points.positions.device)
    if points.frames is None:
        return everything, None
    times = (points.frames - first) / num_frames
    inside = ((times >= 0) & (times < 1)).nonzero().squeeze(1)
    if len(inside) == 0:
        return everything, None
    return inside, None if len(times[inside].unique()) == 1 and num_frames > 1 else times[inside]


def thinned_indices(positions: Tensor, times: Tensor, thinning: Thinning) -> Tensor:
    """Indices of the points [n, 3] with moments [n] that a thinning keeps (STG's `preprocesspoints`)."""
    kept = []
    for order, moment in enumerate(times.unique()):
        rows = (times == moment).nonzero().squeeze(1)
        whole = order == 0 or (thinning.whole > 0 and order % thinning.whole == 0)
        kept.append(rows if whole else rows[_loneliest(positions[rows], thinning.share)])
    return torch.cat(kept)


def _loneliest(positions: Tensor, share: float) -> Tensor:
    """Indices of a share of points [n, 3]: those farthest from their nearest neighbour."""
    distances, _ = nearest_neighbours(positions, 1)
    if distances.shape[1] == 0:
        return torch.arange(len(positions), device=positions.device)
    return distances[:, 0].argsort(descending=True)[: int(len(positions) * share)]


def _few(count: int, room: int | None, generator: torch.Generator) -> Tensor:
    """Indices of at most `room` of `count` rows, in their order."""
    if room is None or count <= room:
        return torch.arange(count)
    return torch.randperm(count, generator=generator)[: max(1, room)].sort().values


def fresh_rows(means: Tensor, colours: Tensor, centres: Tensor, log_width: float) -> Rows:
    """Parameters of new Gaussians at means [n, 3], of colours [n, 3] in 0 ... 1, with window centres [n].

    They stand still, have opacity 0.1 and no rotation; scales are the caller's.
    """
    count = len(means)
    sh = split_sh(sh_from_colours(colours))
    return {
        "means": means.clone(),
        "motion": means.new_zeros(count, 9),
        "quats": identity_quats(count).to(means),
        "omegas": means.new_zeros(count, 4),
        "opacity_logits": logits(count).to(means),
        "trbf_centres": centres.clone(),
        "trbf_log_widths": means.new_full((count,), log_width),
        "sh_dc": sh["sh_dc"],
        "sh_rest": sh["sh_rest"],
    }


def first_log_scales(points: Tensor, extent: float) -> Tensor:
    """Log scales [n, 3] from the three nearest of all points [n, 3], of all moments together."""
    return neighbour_log_scales(points).clamp(max=math.log(LARGEST_SCALE * extent))
