"""Layers for the rasterizer: an expert's Gaussians at a frame, with the routing weights that are splatted."""

from __future__ import annotations

from dataclasses import replace

import torch
from moegs_rasterizer import Camera, Gaussians, Layer
from moegs_rasterizer.types import DepthKind, TileRule
from torch import Tensor

from common.marks import at_a_frame, mark
from common.maths.tensors import constant
from experts.base import Expert
from experts.kept_frames import COMPUTED, ExpertFrames, FrameGaussians
from experts.novel_views import NovelViewCulling
from router.features import FEATURE_BACKGROUND


def gaussians_of(
    expert: Expert,
    camera: Camera,
    frame: float,
    *,
    camera_number: int | None = None,
    culling: NovelViewCulling | None = None,
    learning: bool = False,
) -> Gaussians:
    """An expert's Gaussians for a camera at a frame, culled where it was not trained on (it has no number).

    learning: with gradients to the expert's parameters.
    """
    found = at_frame(
        expert, camera, frame, camera_number=camera_number, culling=culling, frames=COMPUTED, learning=learning
    )
    return found.gaussians


def at_frame(
    expert: Expert,
    camera: Camera,
    frame: float,
    *,
    camera_number: int | None,
    culling: NovelViewCulling | None,
    frames: ExpertFrames,
    learning: bool,
) -> FrameGaussians:
    """As `gaussians_of`, with the rows that they are. frames: where they come from."""
    with torch.set_grad_enabled(learning), mark(at_a_frame(expert.name)):
        found = frames.of(expert, frame, camera=camera_number)
        if culling is None or camera_number is not None:
            return found
        return replace(found, gaussians=culling.cull(found.gaussians, camera))


def layer_of(
    gaussians: Gaussians, expert: Expert, features: Tensor, *, tile_rule: TileRule | None, depth: DepthKind | None
) -> Layer:
    """An expert's Gaussians with their routing weights [n, 3], by its own rules where none are given."""
    settings = expert.settings if tile_rule is None else replace(expert.settings, tile_rule=tile_rule)
    settings = settings if depth is None else replace(settings, depth=depth)
    background = constant((*expert.background, *FEATURE_BACKGROUND), gaussians.means.dtype, gaussians.means.device)
    return Layer(gaussians=gaussians, settings=settings, features=features, background=background)
