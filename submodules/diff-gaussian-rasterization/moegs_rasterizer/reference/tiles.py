"""Lists of the Gaussians that each 16x16 tile has to look at, nearest first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import Camera, RasterSettings
from .projection import Projection, radii_3_sigma

TILE = 16  # pixels
LEAST_ALPHA = 1 / 255
# Widens the box of "exact": rounding in an ill-conditioned covariance must not lose a pixel; each pixel tests again.
BOX_FACTOR, BOX_MARGIN = 1.001, 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Tiles [first, last) that each of m Gaussians reaches, and its radius; both empty and 0 where it reaches none."""

    first: Tensor  # [m, 2] int64, x and y
    last: Tensor  # [m, 2] int64, exclusive
    radii: Tensor  # [m] int32 pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLists:
    """For each tile in row-major order, its range of the Gaussians' ids."""

    starts: Tensor  # [tiles] int64
    counts: Tensor  # [tiles] int64
    ids: Tensor  # [instances] int64, by tile, then depth, then row
    columns: int
    rows: int


def usable(projection: Projection) -> Tensor:
    """Mask [m]: a finite 2D Gaussian with an invertible covariance."""
    mask = projection.conics.isfinite().all(1) & projection.means2d.isfinite().all(1)
    mask &= projection.covariances.to(projection.conics).isfinite().all(1) & projection.depths.isfinite()
    return mask & (projection.determinants > 0)


def tile_boxes(projection: Projection, camera: Camera, settings: RasterSettings) -> Boxes:
    """Tile boxes by the settings' tile rule.

    "inria": the square of the 3-sigma radius; its right and bottom sides fall short by up to a pixel, as in 3DGS.
    "exact": the box of the ellipse alpha = 1/255 (opacity-aware extents, as in Speedy-Splat, gsplat and Faster-GS).
    """
    radii = radii_3_sigma(projection)
    grid = radii.new_tensor([-(-camera.width // TILE), -(-camera.height // TILE)])
    zero = torch.zeros_like(grid)
    means = projection.means2d
    if settings.tile_rule == "inria":
        reach = radii.unsqueeze(1)
        first = torch.trunc((means - reach) / TILE)
        last = torch.trunc((means + reach + TILE - 1) / TILE)
    else:
        first, last = _exact_tiles(projection, camera)
    first, last = torch.clamp(first, zero, grid), torch.clamp(last, zero, grid)
    reached = (last > first).all(1)
    return Boxes(
        first=first.long(), last=torch.where(reached.unsqueeze(1), last, first).long(), radii=(radii * reached).int()
    )


def _exact_tiles(projection: Projection, camera: Camera) -> tuple[Tensor, Tensor]:
    """First and last (exclusive) tiles, as floats, that hold a pixel centre inside the alpha = 1/255 box."""
    means = projection.means2d
    level = 2 * torch.log(projection.opacities.clamp_min(LEAST_ALPHA) / LEAST_ALPHA)
    variances = projection.covariances[:, ::2]
    reach = (level.unsqueeze(1) * variances).sqrt() * BOX_FACTOR + BOX_MARGIN
    size = reach.new_tensor([camera.width, camera.height])
    low = torch.ceil(means - reach).clamp_min(0)
    high = torch.minimum(torch.floor(means + reach), size - 1)
    seen = (high >= low).all(1) & (projection.opacities >= LEAST_ALPHA)
    last = torch.floor(high / TILE) + 1
    return torch.floor(low / TILE), torch.where(seen.unsqueeze(1), last, 0.0)


def tile_lists(boxes: Boxes, depths: Tensor, camera: Camera) -> TileLists:
    """Lists of every tile, sorted by depth; equal depths keep the order of their rows."""
    columns, rows = -(-camera.width // TILE), -(-camera.height // TILE)
    order = torch.argsort(depths, stable=True)
    first, span = boxes.first[order], (boxes.last - boxes.first)[order]
    reach = span[:, 0] * span[:, 1]
    ids = torch.repeat_interleave(order, reach)
    offset = torch.arange(len(ids), device=ids.device) - torch.repeat_interleave(reach.cumsum(0) - reach, reach)
    width = torch.repeat_interleave(span[:, 0], reach)
    corner = torch.repeat_interleave(first, reach, dim=0)
    tile = (corner[:, 1] + offset // width) * columns + corner[:, 0] + offset % width
    counts = torch.bincount(tile, minlength=columns * rows)
    return TileLists(
        starts=counts.cumsum(0) - counts,
        counts=counts,
        ids=ids[torch.argsort(tile, stable=True)],
        columns=columns,
        rows=rows,
    )
