"""Plane sweep stereo: depths of moving pixels by comparing a camera's image with its neighbours', plane after plane.

The method is Collins's (1996), with normalised cross-correlation as in multi-view stereo since. It needs no network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from common.maths.geometry import onto_image, transformed
from experts.freetime.starts.motion_masks import MaskedView
from experts.training.gaussians.badly_shown import along_rays

Limits = tuple[float, float]  # depths, nearest first

_RADIUS = 3  # px: patches of 7 x 7 are compared
_TILE = 32  # px: squares in which something moves are swept, others are not
_FEWEST = 16  # planes
_AT_ONCE = 1 << 23  # samples of a neighbour's image; bounds memory to about 0.5 GB


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Settings of a plane sweep."""

    step: float = 0.5  # px from plane to plane in the farthest neighbour's image, at least about
    most_planes: int = 128  # spread evenly over inverse depths
    neighbours: int = 2  # nearest cameras that an image is compared with
    least_match: float = 0.6  # correlation of the best plane
    margin: float = 0.05  # by which it is better than any plane farther off than `apart`
    apart: float = 4.0  # px
    noise: float = 0.005  # deviation of grey values that is no texture
    largest_error: float = 1.0  # px between a pixel and where its match's depth leads back to


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoints:
    """Points that a sweep found."""

    positions: Tensor  # [m, 3] world units
    colours: Tensor  # [m, 3]
    views: Tensor  # [m] int64: the view that each was found in


def nearest_cameras(cameras: Sequence[Camera], count: int) -> list[list[int]]:
    """Indices of the cameras that stand nearest to each and look within 90 degrees of its direction, nearest first.

    Cameras in the same place are not among them: they show no depth.
    """
    centres = torch.stack([camera.centre for camera in cameras]).double().cpu()
    axes = torch.stack([camera.world_to_camera[2, :3] for camera in cameras]).double().cpu()
    distances = torch.cdist(centres, centres).fill_diagonal_(torch.inf)
    distances[(axes @ axes.T <= 0) | (distances == 0)] = torch.inf
    order = distances.argsort(dim=1, stable=True)
    return [
        [other for other in row[:count] if distances[index, other] < torch.inf]
        for index, row in enumerate(order.tolist())
    ]


def sweep(views: Sequence[MaskedView], limits: Sequence[Limits | None], settings: Sweep = Sweep()) -> SweepPoints:
    """Points of the moving parts of some cameras' images of one moment, all of one device.

    limits: nearest and farthest depth for each view; None: it has no depths. A point stays where its plane is the best
    by far, and where the depth that one of the neighbours has found leads back to within `largest_error` of the pixel.
    ValueError where limits are not positive and rising.
    """
    if wrong := [limit for limit in limits if limit is not None and not 0 < limit[0] < limit[1] < math.inf]:
        raise ValueError(f"a plane sweep from depth {wrong[0][0]:g} to {wrong[0][1]:g}: give 0 < nearest < farthest")
    others = nearest_cameras([view.camera for view in views], settings.neighbours)
    depths = [
        depth_map(view, [views[other] for other in near], limit, settings)
        for view, near, limit in zip(views, others, limits, strict=True)
    ]
    found = [_agreeing(index, views, depths, others[index], settings) for index in range(len(views))]
    return SweepPoints(
        positions=torch.cat([positions for positions, _ in found]),
        colours=torch.cat([colours for _, colours in found]),
        views=torch.cat([torch.full((len(rows),), index).to(rows.device) for index, (rows, _) in enumerate(found)]),
    )


def depth_map(view: MaskedView, others: Sequence[MaskedView], limits: Limits | None, settings: Sweep) -> Tensor:
    """Depths [h, w] of a view's moving pixels by comparison with other views; 0 where none is sure.

    limits: nearest and farthest depth; None finds nothing.
    """
    depths = torch.zeros_like(view.image[0])
    corners = _tiles(view.moving)
    if limits is None or not others or len(corners) == 0:
        return depths
    near, far = limits
    inverse, apart = _planes(view, others, near, far, settings)
    inverse = inverse.to(depths)
    greys = [pad(_grey(view.image), [_RADIUS, _RADIUS + _TILE] * 2)] + [_grey(other.image) for other in others]
    side = _TILE + 2 * _RADIUS
    for part in corners.split(max(1, _AT_ONCE // (len(inverse) * side * side))):
        matches = _matches(part, view, others, greys, inverse, settings)
        found = _best_depths(matches, inverse, apart, settings)
        for (row, column), tile in zip(part.tolist(), found, strict=True):
            place = depths[row : row + _TILE, column : column + _TILE]
            place.copy_(tile[: place.shape[0], : place.shape[1]])
    return depths * view.moving


def _planes(
    view: MaskedView, others: Sequence[MaskedView], near: float, far: float, settings: Sweep
) -> tuple[Tensor, int]:
    """Inverse depths [d] from far to near, and the number of planes that lie `apart` px from each other."""
    baselines = [float((other.camera.centre - view.camera.centre).norm()) * other.camera.fx for other in others]
    length = max(baselines) * (1 / near - 1 / far)  # px between the images of nearest and farthest points, about
    count = min(settings.most_planes, max(_FEWEST, math.ceil(length / settings.step) + 1))
    return torch.linspace(1 / far, 1 / near, count), max(2, math.ceil(settings.apart * (count - 1) / length))


def _tiles(mask: Tensor) -> Tensor:
    """Top left corners [t, 2] (row, column) of the tiles that hold something of a mask [h, w]."""
    height, width = mask.shape
    whole = pad(mask.float(), [0, -width % _TILE, 0, -height % _TILE])
    return (avg_pool2d(whole[None], _TILE)[0] > 0).nonzero() * _TILE


def _grey(image: Tensor) -> Tensor:
    return image.mean(dim=0)


def _matches(
    corners: Tensor,
    view: MaskedView,
    others: Sequence[MaskedView],
    greys: Sequence[Tensor],
    inverse: Tensor,
    settings: Sweep,
) -> Tensor:
    """Correlations [t, d, tile, tile] of tiles' patches with those of other views, if they lay at inverse depths [d].

    -1 where no other view shows a patch; else the mean over those that do.
    """
    side = _TILE + 2 * _RADIUS
    steps = torch.arange(side, device=corners.device)
    rows, columns = (corners[:, axis, None] + steps for axis in (0, 1))  # of the padded image
    own = greys[0][rows[:, :, None], columns[:, None, :]][:, None]
    y = ((rows - _RADIUS + 0.5 - view.camera.cy) / view.camera.fy).to(own)
    x = ((columns - _RADIUS + 0.5 - view.camera.cx) / view.camera.fx).to(own)
    x, y = x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)
    rays = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    total, shown = torch.zeros((), device=own.device), torch.zeros((), device=own.device)
    for other, grey in zip(others, greys[1:], strict=True):
        seen, inside = _seen_by(rays, view.camera, other.camera, grey, inverse)
        total = total + _correlation(own, seen, settings.noise) * inside
        shown = shown + inside
    return torch.where(shown > 0, total / shown.clamp(min=1), -1.0)


def _seen_by(rays: Tensor, camera: Camera, other: Camera, grey: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Grey values [t, d, side, side] of another camera where rays [t, side, side, 3] have inverse depths [d].

    Also whether the image shows the middle of each patch, [t, d, tile, tile].
    """
    motion = (other.world_to_camera.double().cpu() @ camera.world_to_camera.double().cpu().inverse()).to(rays)
    local = (rays @ motion[:3, :3].T)[:, None] + inverse[:, None, None, None] * motion[:3, 3]
    depth = local[..., 2].clamp(min=1e-6)
    across = 2 * (other.fx * local[..., 0] / depth + other.cx) / other.width - 1
    down = 2 * (other.fy * local[..., 1] / depth + other.cy) / other.height - 1
    grid = torch.stack([across, down], dim=-1).flatten(0, 2)[None]
    seen = grid_sample(grey[None, None], grid, padding_mode="border", align_corners=False)[0, 0].view_as(depth)
    middle = slice(_RADIUS, -_RADIUS)
    inside = (across.abs() < 1) & (down.abs() < 1) & (local[..., 2] > 0)
    return seen, inside[..., middle, middle]


def _correlation(own: Tensor, seen: Tensor, noise: float) -> Tensor:
    """Normalised cross-correlation of the patches of [t, 1, side, side] and [t, d, side, side]; near 0 in noise."""
    mean_own, mean_seen = _patch_means(own), _patch_means(seen)
    variance_own = _patch_means(own * own) - mean_own * mean_own
    variance_seen = _patch_means(seen * seen) - mean_seen * mean_seen
    covariance = _patch_means(own * seen) - mean_own * mean_seen
    floor = noise * noise
    return covariance / ((variance_own.clamp(min=0) + floor) * (variance_seen.clamp(min=0) + floor)).sqrt()


def _patch_means(values: Tensor) -> Tensor:
    """Means over the patches of [..., side, side]; on the CPU five times as fast as avg_pool2d."""
    return _sums_along(_sums_along(values, -2), -1).div_((2 * _RADIUS + 1) ** 2)


def _sums_along(values: Tensor, axis: int) -> Tensor:
    count = values.shape[axis] - 2 * _RADIUS
    sums = values.narrow(axis, 0, count).clone()
    for step in range(1, 2 * _RADIUS + 1):
        sums += values.narrow(axis, step, count)
    return sums


def _best_depths(matches: Tensor, inverse: Tensor, apart: int, settings: Sweep) -> Tensor:
    """Depths [t, tile, tile] of the best of matches [t, d, tile, tile], between planes; 0 where it is not the only one.

    A best plane at either end of the sweep is none: what matches may lie beyond.
    """
    best, plane = matches.max(dim=1)
    planes = torch.arange(len(inverse), device=inverse.device)[:, None, None]
    other = (planes - plane[:, None]).abs() >= apart
    second = torch.where(other, matches, -1.0).amax(dim=1)
    inner = (plane > 0) & (plane < len(inverse) - 1)
    sure = inner & other.any(dim=1) & (best > settings.least_match) & (best - second > settings.margin)
    before, after = (matches.gather(1, (plane + step).clamp(0, len(inverse) - 1)[:, None])[:, 0] for step in (-1, 1))
    curve = (before - 2 * best + after).clamp(max=-1e-6)
    offset = (0.5 * (before - after) / curve).clamp(-0.5, 0.5)  # of a parabola's top
    depth = 1 / (inverse[plane] + offset * (inverse[1] - inverse[0]))
    return torch.where(sure, depth, 0.0)


def _agreeing(
    index: int, views: Sequence[MaskedView], depths: Sequence[Tensor], others: Sequence[int], settings: Sweep
) -> tuple[Tensor, Tensor]:
    """Positions [m, 3] and colours [m, 3] of a view's depths that one of its neighbours' depths agrees with."""
    view, own = views[index], depths[index]
    pixels = (own > 0).nonzero()
    row, column = pixels.unbind(1)
    positions = along_rays(pixels, own[row, column], view.camera)
    agrees = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
    for other in others:
        agrees |= _leads_back(pixels, positions, view.camera, views[other].camera, depths[other], settings)
    return positions[agrees], view.image[:, row, column].T[agrees]


def _leads_back(
    pixels: Tensor, positions: Tensor, camera: Camera, other: Camera, depths: Tensor, settings: Sweep
) -> Tensor:
    """Mask [m] of positions at whose place in another view that view's depth leads back to the pixel."""
    local = transformed(positions, other.world_to_camera.to(positions))
    column, row = onto_image(local, (other.fx, other.fy), (other.cx, other.cy)).floor().long().unbind(1)
    inside = (local[:, 2] > 0) & (row >= 0) & (row < other.height) & (column >= 0) & (column < other.width)
    row, column = row.clamp(0, other.height - 1), column.clamp(0, other.width - 1)
    found = depths[row, column]
    back = transformed(along_rays(torch.stack([row, column], 1), found, other), camera.world_to_camera.to(positions))
    places = onto_image(back, (camera.fx, camera.fy), (camera.cx, camera.cy))
    error = (places - (pixels.flip(1) + 0.5)).norm(dim=1)
    return inside & (found > 0) & (back[:, 2] > 0) & (error < settings.largest_error)
