"""Images of one expert alone, without gradients."""

from __future__ import annotations

from collections.abc import Sequence
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
from experts.windows.fading import joined_images, joined_splats
from experts.windows.model import Part, parts_at
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
    parts = parts_at(expert, frame)
    splats = _splats(parts, camera, compute, camera_number=camera_number, culling=culling, tile_rule=tile_rule)
    joined = joined_splats([parts], splats)[0]
    assert joined is not None, "it has Gaussians"
    return joined


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
    if has_pictures(expert):
        image = expert.picture(camera, frame)
        splat: Splat | None = picture_splat(image)
    else:
        parts = parts_at(expert, frame)
        splats = _splats(
            parts, camera, compute, camera_number=camera_number, culling=novel.culling, tile_rule=tile_rule
        )
        splat = joined_splats([parts], splats)[0]
        images = [part.expert.colour(each, camera, frame=part.frame) for part, each in zip(parts, splats, strict=True)]
        image = joined_images([parts], images)[0]
    assert splat is not None
    if camera_number is not None or novel.hole_colour is None:
        return image
    alphas = splat.alpha[None]
    hole = little_covered(alphas, novel.usual_coverage)
    return on_hole_colour(image[None], alphas, [expert], novel.hole_colour, hole=hole)[0]


def _splats(
    parts: Sequence[Part],
    camera: Camera,
    compute: ComputeDevice,
    *,
    camera_number: int | None,
    culling: NovelViewCulling | None,
    tile_rule: TileRule | None,
) -> list[Splat]:
    """The Gaussians of an expert's parts on the screen, once the device is done."""
    layers = []
    for part in parts:
        gaussians = gaussians_of(part.expert, camera, part.frame, camera_number=camera_number, culling=culling)
        settings = part.expert.settings if tile_rule is None else replace(part.expert.settings, tile_rule=tile_rule)
        background = constant(part.expert.background, gaussians.means.dtype, gaussians.means.device)
        layers.append(Layer(gaussians=gaussians, settings=settings, background=background))
    splats = rasterize(layers, camera, backend=compute.backend)
    wait(compute)
    return splats


def colour_of(expert: Expert, splat: Splat, camera: Camera, frame: float) -> Tensor:
    """An expert's image [3, h, w], from what `splat_of` gave."""
    return splat.colour if has_pictures(expert) else expert.colour(splat, camera, frame=frame)
