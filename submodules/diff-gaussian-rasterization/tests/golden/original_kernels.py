"""The original kernels in float64, written apart from the package, with their backward quirks or without.

Quirks (3DGS's `backward.cu`, and Ex4DGS's copy of it where marked):
- alpha's gradient passes its clamp at 0.99;
- the conic's derivative divides by det^2 + 1e-7 instead of det^2;
- where the Jacobian's point is clamped, its z gradient is that of a constant x (twice the true one);
- Ex4DGS: the opacity's gradient lacks the compensation factor, which counts as a constant;
- Ex4DGS: the path from the covariance to the mean is overwritten, so it gives nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from moegs_rasterizer import Camera, Gaussians, Layer
from moegs_rasterizer.reference.sh import sh_basis
from torch import Tensor


def scaled_gradient(value: Tensor, factor: Tensor | float) -> Tensor:
    """The value, with its gradient multiplied by factor."""
    return value.detach() + (value - value.detach()) * factor


def reference_colour(layer: Layer, camera: Camera, *, quirks: bool) -> tuple[Tensor, Tensor]:
    """Colour [k, h, w] and 2D means [n, 2] (pixels) of a layer under the tile rule "inria"."""
    given, settings = layer.gaussians, layer.settings
    ex4dgs = settings.compensate
    w2c = camera.world_to_camera.double()
    points = given.means @ w2c[:3, :3].T + w2c[:3, 3]
    pixel, ndc = _pixels(points, camera)
    jacobian = _jacobian(points.detach() if quirks and ex4dgs else points, camera, quirks)
    world = _world_covariance(given)
    flat = jacobian @ w2c[:3, :3] @ world @ w2c[:3, :3].T @ jacobian.transpose(1, 2)
    covariance = flat + settings.low_pass * torch.eye(2, dtype=torch.float64)
    determinant = torch.linalg.det(covariance)
    opacity = given.opacities
    if ex4dgs:
        before, after = torch.linalg.det(flat).clamp_min(1e-6), determinant.clamp_min(1e-6)
        factor = torch.where((before > 1e-6) & (after > 1e-6), (before / (after + 1e-6) + 1e-6).sqrt(), 0.0)
        opacity = (opacity * factor).detach() + (opacity - opacity.detach()) if quirks else opacity * factor
    if quirks:
        covariance = scaled_gradient(covariance, (determinant**2 / (determinant**2 + 1e-7)).detach()[:, None, None])
    conic = torch.linalg.inv(covariance)
    seen = points[:, 2] > settings.near
    if settings.far is not None:
        seen &= points[:, 2] <= settings.far
    if settings.ndc_limit is not None:
        seen &= (ndc.abs() <= settings.ndc_limit).all(1)
    boxes = _tile_boxes(pixel.detach(), covariance.detach(), camera)

    def alphas(rows: Tensor, at: Tensor) -> Tensor:
        offset = pixel[rows][:, None] - at
        power = -0.5 * torch.einsum("npi,nij,npj->np", offset, conic[rows], offset)
        raw = opacity[rows][:, None] * torch.exp(power)
        clamped = raw.detach().clamp_max(0.99) + raw - raw.detach() if quirks else raw.clamp_max(0.99)
        return torch.where((power <= 0) & (clamped >= 1 / 255), clamped, 0.0)

    order = torch.argsort(points[:, 2].detach(), stable=True)
    order = order[seen[order]]
    image = _blend_tiles(alphas, _colours(given, camera), layer.background, (order, boxes), camera)
    return image, pixel


def clamped_rows(layer: Layer, camera: Camera) -> Tensor:
    """Mask [n]: the Jacobian's point of this Gaussian is clamped."""
    w2c = camera.world_to_camera.double()
    points = layer.gaussians.means @ w2c[:3, :3].T + w2c[:3, 3]
    return ((points[:, :2] / points[:, 2:]).abs() > _limits(camera)).any(1)


def _limits(camera: Camera) -> Tensor:
    return 1.3 * torch.tensor([camera.width / 2 / camera.fx, camera.height / 2 / camera.fy], dtype=torch.float64)


def _pixels(points: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    focal = torch.tensor([camera.fx, camera.fy], dtype=torch.float64)
    size = torch.tensor([camera.width, camera.height], dtype=torch.float64)
    centre = torch.tensor([camera.cx, camera.cy], dtype=torch.float64)
    inverse = 1 / (points[:, 2:] + 1e-7)
    ndc = (2 * focal * points[:, :2] + (2 * centre - size) * points[:, 2:]) * inverse / size
    return ((ndc + 1) * size - 1) / 2, ndc


def _jacobian(points: Tensor, camera: Camera, quirks: bool) -> Tensor:
    z = points[:, 2]
    slope = points[:, :2] / z[:, None]
    limits = _limits(camera)
    held = slope.detach().clamp(-limits, limits) * z[:, None]
    held = torch.where(slope.abs() > limits, held.detach() if quirks else held, points[:, :2])
    jacobian = torch.zeros(len(z), 2, 3, dtype=torch.float64)
    jacobian[:, 0, 0], jacobian[:, 1, 1] = camera.fx / z, camera.fy / z
    jacobian[:, 0, 2], jacobian[:, 1, 2] = -camera.fx * held[:, 0] / z**2, -camera.fy * held[:, 1] / z**2
    return jacobian


def _world_covariance(given: Gaussians) -> Tensor:
    """R S S R^T with R = I + 2 w [v]x + 2 [v]x [v]x, which is the quadratic formula without normalisation."""
    w, vector = given.quats[:, 0], given.quats[:, 1:]
    x, y, z = vector.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    rotation = torch.eye(3, dtype=torch.float64) + 2 * w[:, None, None] * cross + 2 * cross @ cross
    return rotation @ torch.diag_embed(given.scales**2) @ rotation.transpose(1, 2)


def _colours(given: Gaussians, camera: Camera) -> Tensor:
    if given.colours is not None:
        return given.colours
    direction = torch.nn.functional.normalize(given.means - camera.centre, dim=1)
    return (torch.einsum("nk,nkc->nc", sh_basis(direction, given.sh.shape[1]), given.sh) + 0.5).clamp_min(0)


def _tile_boxes(pixel: Tensor, covariance: Tensor, camera: Camera) -> Tensor:
    """First x, first y, last x, last y (exclusive) in tiles [n, 4] of the 3-sigma square, float64 as integers."""
    middle = (covariance[:, 0, 0] + covariance[:, 1, 1]) / 2
    radius = (3 * (middle + (middle**2 - torch.linalg.det(covariance)).clamp_min(0.1).sqrt()).sqrt()).ceil()
    grid = torch.tensor([math.ceil(camera.width / 16), math.ceil(camera.height / 16)], dtype=torch.float64)
    first = ((pixel - radius[:, None]) / 16).trunc().clamp_min(0)
    last = ((pixel + radius[:, None] + 15) / 16).trunc()
    return torch.cat([torch.minimum(first, grid), torch.minimum(last, grid)], dim=1)


def _blend_tiles(
    alphas: Callable[[Tensor, Tensor], Tensor],
    colours: Tensor,
    background: Tensor,
    listed: tuple[Tensor, Tensor],
    camera: Camera,
) -> Tensor:
    order, boxes = listed
    columns = []
    for x in range(0, camera.width, 16):
        tiles = []
        for y in range(0, camera.height, 16):
            box = boxes[order]
            rows = order[(box[:, 0] <= x / 16) & (x / 16 < box[:, 2]) & (box[:, 1] <= y / 16) & (y / 16 < box[:, 3])]
            ys, xs = torch.meshgrid(
                torch.arange(y, min(y + 16, camera.height)), torch.arange(x, min(x + 16, camera.width)), indexing="ij"
            )
            alpha = alphas(rows, torch.stack([xs, ys], dim=-1).reshape(-1, 2).double())
            left = torch.cat([torch.ones(1, alpha.shape[1], dtype=torch.float64), (1 - alpha).cumprod(0)])
            going = left[1:] >= 1e-4
            weight = torch.where(going, alpha * left[:-1], 0.0)
            rest = left.gather(0, going.sum(0, keepdim=True))
            tile = torch.einsum("np,nc->cp", weight, colours[rows]) + background[:, None] * rest
            tiles.append(tile.reshape(-1, *xs.shape))
        columns.append(torch.cat(tiles, dim=1))
    return torch.cat(columns, dim=2)
