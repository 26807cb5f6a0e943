"""Agreement of rendered depths with the start points that an image shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera
from torch import Tensor
from torch.nn.functional import huber_loss

from experts.training.gaussians.visibility import in_image

CELLS = 40  # along an image's width, in which points hide those behind them
THICKNESS = 0.05  # of what points are on, over their depth: points so far behind the first of a cell still show
LEAST_ALPHA = 0.5  # of a pixel whose depth counts
_NEAREST = 1e-3  # depth below which logarithms are cut, scene units


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthTargets:
    """Start points that a camera shows."""

    pixels: Tensor  # int64 [m] row by row
    log_depths: Tensor  # [m]


@torch.no_grad()
def depth_targets(points: Tensor, camera: Camera) -> DepthTargets:
    """The points [n, 3] in a camera's image, without those that others of their cell of the image hide.

    Points are sparse, so that some hidden ones stay: the loss must bear them.
    """
    depths, places, shown = in_image(points, camera)
    rows = shown.nonzero().squeeze(1)
    depths, places = depths[rows], places[rows]
    side = max(1.0, camera.width / CELLS)
    cells = (places[:, 1] / side).long() * (CELLS + 1) + (places[:, 0] / side).long()
    first = depths.new_full((int(cells.amax()) + 1 if len(cells) else 0,), torch.inf)
    first.scatter_reduce_(0, cells, depths, "amin")
    front = depths <= (1 + THICKNESS) * first[cells]
    columns, lines = places[front].long().unbind(1)
    return DepthTargets(pixels=lines * camera.width + columns, log_depths=depths[front].log())


def depth_loss(depth: Tensor, alpha: Tensor, targets: DepthTargets, *, delta: float) -> Tensor:
    """Mean Huber loss between the logarithms of a depth map [h, w] and of the targets, at pixels that are opaque.

    alpha [h, w]. Divided by delta, so that its slope is 1 far from the target. 0 where no target's pixel is opaque.
    """
    counted = (alpha.detach().flatten()[targets.pixels] > LEAST_ALPHA).float()
    found = depth.flatten()[targets.pixels].clamp_min(_NEAREST).log()
    errors = huber_loss(found, targets.log_depths, delta=delta, reduction="none") / delta
    return (errors * counted).sum() / counted.sum().clamp_min(1)
