"""Pixels that a training shows badly, and places along their rays: parts of guided sampling (STG, section 4.3)."""

from __future__ import annotations

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.maths.geometry import transformed

_BRIGHTNESS = 0.01  # added to mean colours that images are divided by


def badly_shown(image: Tensor, target: Tensor, quantile: float) -> Tensor:
    """Mask [h, w] of the pixels whose error is above a quantile of the image's errors.

    Images [3, h, w] are compared after division by their mean, so that exposure does not count.
    """
    relative = [pixels / (pixels.mean() + _BRIGHTNESS) for pixels in (image, target)]
    error = (relative[0] - relative[1]).abs().sum(0)
    threshold = error.flatten().sort().values[min(int(quantile * error.numel()), error.numel() - 1)]
    return error > threshold


def along_rays(pixels: Tensor, depths: Tensor, camera: Camera) -> Tensor:
    """World positions [..., m, 3] of pixels [m, 2] (row, column; through their centres) at depths [..., m]."""
    rows, columns = (pixels.to(depths) + 0.5).unbind(1)
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    local = depths.unsqueeze(-1) * torch.stack([x, y, torch.ones_like(x)], dim=1)
    return transformed(local, camera.camera_to_world.to(depths))
