"""Single pixels of scenes too large for the other references: every Gaussian tried at each, on any device."""

from __future__ import annotations

import torch
from moegs_rasterizer import Camera, Layer
from moegs_rasterizer.reference.blending import LARGEST_ALPHA, LEAST_TRANSMITTANCE
from moegs_rasterizer.reference.oracle import select_rows
from moegs_rasterizer.reference.projection import Projection, in_view, project, view_points
from moegs_rasterizer.reference.sh import sh_colours
from moegs_rasterizer.reference.tiles import LEAST_ALPHA, usable
from torch import Tensor

ROWS_AT_ONCE = 250_000  # bounds the memory


def values_at(layer: Layer, camera: Camera, pixels: Tensor) -> Tensor:
    """Channels [p, k + c] at pixels [p, 2] (x, y) under the tile rule "exact", without tiles; differentiable."""
    rows = _reaching_rows(layer, camera, pixels)
    given = select_rows(layer.gaussians, rows)
    projection = project(given, camera, layer.settings)
    order = torch.argsort(projection.depths.detach(), stable=True)
    alphas = _alphas(projection, pixels)[order]
    left = torch.cat([torch.ones_like(alphas[:1]), (1 - alphas).cumprod(0)])
    going = left[1:] >= LEAST_TRANSMITTANCE
    weights = torch.where(going, alphas * left[:-1], 0.0)
    rest = left.gather(0, going.sum(0, keepdim=True))[0]
    values = given.colours
    if given.sh is not None:
        values = sh_colours(given.sh, given.means, camera.centre.to(given.means))
    if layer.features is not None:
        values = torch.cat([values, layer.features[rows]], dim=1)
    return weights.T @ values[order] + rest[:, None] * layer.background


@torch.no_grad()
def _reaching_rows(layer: Layer, camera: Camera, pixels: Tensor) -> Tensor:
    """Rows of the Gaussians that count at one of the pixels at least."""
    reaching = []
    for rows in torch.arange(layer.gaussians.count, device=pixels.device).split(ROWS_AT_ONCE):
        rows = rows[in_view(view_points(layer.gaussians.means[rows], camera), camera, layer.settings)]
        projection = project(select_rows(layer.gaussians, rows), camera, layer.settings)
        reaching.append(rows[usable(projection) & (_alphas(projection, pixels) > 0).any(1)])
    return torch.cat(reaching)


def _alphas(projection: Projection, pixels: Tensor) -> Tensor:
    """Alphas [n, p], 0 where a Gaussian is skipped."""
    x, y = (projection.means2d[:, None] - pixels).unbind(2)
    a, b, c = (conic[:, None] for conic in projection.conics.unbind(1))
    power = -0.5 * (a * x * x + c * y * y) - b * x * y
    alpha = (projection.opacities[:, None] * power.exp()).clamp_max(LARGEST_ALPHA)
    return torch.where((power <= 0) & (alpha >= LEAST_ALPHA), alpha, 0.0)
