"""Images of one expert alone, without gradients."""

from __future__ import annotations

from dataclasses import replace

import torch
from moegs_rasterizer import Camera, Layer, Splat, rasterize
from moegs_rasterizer.types import TileRule
from torch import Tensor

from common.maths.tensors import constant
from engine.runs.device import ComputeDevice, wait
from experts.base import Expert
from experts.novel_views import NovelViewCulling
from experts.pictures import has_pictures
from experts.pictures import splat_of as picture_splat
from router.layers import gaussians_of
from router.novel_views import PLAIN, NovelViews, little_covered, on_hole_colour


@torch.no_grad()
def splat_of(
    expert: Expert,
    camera: Camera,
    frame: float,
    *,
    compute: ComputeDevice,
    camera_number: int | None = None,
    culling: NovelViewCulling | None = None,
    tile_rule: TileRule | None = None,
) -> Splat:
    """An expert's Gaussians on the screen of a camera, or its picture there.

    camera_number: of a training camera, whose per-camera parameters were learned. culling: at cameras without a
    number, which were not trained on; None: none. tile_rule None: the expert's own.
    """
    if has_pictures(expert):
        return picture_splat(expert.picture(camera, frame))
    gaussians = gaussians_of(expert, camera, frame, camera_number=camera_number, culling=culling)
    settings = expert.settings if tile_rule is None else replace(expert.settings, tile_rule=tile_rule)
    background = constant(expert.background, gaussians.means.dtype, gaussians.means.device)
    layer = Layer(gaussians=gaussians, settings=settings, background=background)
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
    camera_number: int | None = None,
    novel: NovelViews = PLAIN,
    tile_rule: TileRule | None = None,
) -> Tensor:
    """An expert's image [3, h, w]; see `splat_of`.

    novel: rules for a camera without a number; of an expert alone they are its near plane and the colour of holes.
    """
    splat = splat_of(
        expert, camera, frame, compute=compute, camera_number=camera_number, culling=novel.culling, tile_rule=tile_rule
    )
    image = colour_of(expert, splat, camera, frame)
    if camera_number is not None or novel.hole_colour is None:
        return image
    alphas = splat.alpha[None]
    hole = little_covered(alphas, novel.usual_coverage)
    return on_hole_colour(image[None], alphas, [expert], novel.hole_colour, hole=hole)[0]


def colour_of(expert: Expert, splat: Splat, camera: Camera, frame: float) -> Tensor:
    """An expert's image [3, h, w], from what `splat_of` gave."""
    return splat.colour if has_pictures(expert) else expert.colour(splat, camera, frame=frame)
