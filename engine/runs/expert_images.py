"""Images of one expert alone, without gradients."""

from __future__ import annotations

import torch
from moegs_rasterizer import Camera, Layer, Splat, rasterize
from torch import Tensor

from engine.runs.device import ComputeDevice, wait
from experts.base import Expert
from experts.novel_views import NovelViewCulling
from router.router import gaussians_of


@torch.no_grad()
def splat_of(
    expert: Expert,
    camera: Camera,
    frame: float,
    *,
    compute: ComputeDevice,
    culling: NovelViewCulling | None = None,
) -> Splat:
    """An expert's Gaussians on the screen of a camera that was not trained on; culling None: all of them."""
    gaussians = gaussians_of(expert, camera, frame, culling=culling)
    background = gaussians.means.new_tensor(expert.background)
    layer = Layer(gaussians=gaussians, settings=expert.settings, background=background)
    splat = rasterize([layer], camera, backend=compute.backend)[0]
    wait(compute)
    return splat


@torch.no_grad()
def image_of(
    expert: Expert,
    camera: Camera,
    frame: float,
    *,
    compute: ComputeDevice,
    culling: NovelViewCulling | None = None,
) -> Tensor:
    """An expert's image [3, h, w] at such a camera."""
    return expert.colour(splat_of(expert, camera, frame, compute=compute, culling=culling), camera, frame=frame)
