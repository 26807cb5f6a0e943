"""Rasterizes layer by layer in plain PyTorch: cull, project, list the Gaussians of each tile, blend."""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import Camera, Gaussians, Grad, Layer, Splat
from .blending import Splats, blend
from .projection import in_view, project, view_points
from .sh import sh_colours
from .tiles import TILE, Boxes, tile_boxes, tile_lists, usable


def rasterize_layers(layers: list[Layer], camera: Camera, grad: Grad) -> list[Splat]:
    """Rasterize validated layers one after the other; `grad` is not looked at, autograd follows what requires one."""
    return [_rasterize_layer(layer, camera) for layer in layers]


def _rasterize_layer(layer: Layer, camera: Camera) -> Splat:
    gaussians = layer.gaussians
    seen, boxes = cull(layer, camera)
    chosen = select_rows(gaussians, seen)
    projection = project(chosen, camera, layer.settings)
    means2d = torch.zeros_like(gaussians.means[:, :2]).index_copy(0, seen, projection.means2d)
    splats = Splats(
        geometry=torch.cat([means2d[seen], projection.conics, projection.opacities.unsqueeze(1)], dim=1),
        values=_values(chosen, None if layer.features is None else layer.features[seen], camera),
        depths=projection.depths.detach(),
    )
    lists = tile_lists(boxes, splats.depths, camera)
    blended = blend(splats, lists, layer.settings)
    image = blended.values + blended.transmittance.unsqueeze(1) * layer.background
    k = gaussians.colour_channels
    planes = _image(image, camera)
    radii = torch.zeros(gaussians.count, dtype=torch.int32, device=means2d.device)
    return Splat(
        colour=planes[:k],
        features=None if layer.features is None else planes[k:],
        alpha=1 - _image(blended.transmittance, camera),
        depth=_image(blended.depth, camera),
        radii=radii.index_copy(0, seen, boxes.radii),
        means2d=means2d,
    )


@torch.no_grad()
def cull(layer: Layer, camera: Camera) -> tuple[Tensor, Boxes]:
    """Rows [m] of the Gaussians that reach a tile, and their boxes.

    Culling comes first, on its own, so that what overflows in a culled Gaussian never meets autograd.
    """
    settings = layer.settings
    rows = in_view(view_points(layer.gaussians.means, camera), camera, settings).nonzero().squeeze(1)
    projection = project(select_rows(layer.gaussians, rows), camera, settings)
    boxes = tile_boxes(projection, camera, settings)
    kept = (usable(projection) & (boxes.radii > 0)).nonzero().squeeze(1)
    return rows[kept], Boxes(first=boxes.first[kept], last=boxes.last[kept], radii=boxes.radii[kept])


def select_rows(gaussians: Gaussians, rows: Tensor) -> Gaussians:
    """The Gaussians of these rows, in their order."""
    return Gaussians(
        means=gaussians.means[rows],
        scales=gaussians.scales[rows],
        quats=gaussians.quats[rows],
        opacities=gaussians.opacities[rows],
        sh=None if gaussians.sh is None else gaussians.sh[rows],
        colours=None if gaussians.colours is None else gaussians.colours[rows],
    )


def _values(chosen: Gaussians, features: Tensor | None, camera: Camera) -> Tensor:
    """Everything carried to the pixels [m, k + c]: colours, then features."""
    seen_sh = None
    if chosen.sh is not None:
        seen_sh = sh_colours(chosen.sh, chosen.means, camera.centre.detach().to(chosen.means))
    return torch.cat([part for part in (seen_sh, chosen.colours, features) if part is not None], dim=1)


def _image(pixels: Tensor, camera: Camera) -> Tensor:
    """Tiled pixels [tiles * 256 (, channels)] as planes [(channels,) h, w]."""
    columns, rows = -(-camera.width // TILE), -(-camera.height // TILE)
    grid = pixels.reshape(rows, columns, TILE, TILE, -1).permute(4, 0, 2, 1, 3)
    planes = grid.reshape(-1, rows * TILE, columns * TILE)[:, : camera.height, : camera.width]
    return planes if pixels.dim() == 2 else planes[0]
