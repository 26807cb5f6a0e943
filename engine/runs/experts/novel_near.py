"""The rules for novel views, found without a look at held-out frames: their near plane, and the colour of holes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from moegs_rasterizer import Camera, Layer, rasterize

from engine.checks.probes import shrunk, spread
from engine.runs.device import ComputeDevice, wait
from engine.runs.experts.images import splat_of
from experts.base import Expert
from experts.novel_views import NovelViewCulling, novel_view_culling
from experts.pictures import has_pictures
from router.novel_views import NovelViews, usual_coverage
from scenes import Scene, ViewFrame

logger = logging.getLogger(__name__)

SHARE = 0.25  # of the median depth: docs/dev/blend.md has the measurement
VIEWS, WIDTH = 5, 160  # training views that depths are rendered at, and the width of their images, px


def lone_rules(
    scene: Scene, expert: Expert, compute: ComputeDevice, *, near: float | None, guard: bool, frames: Sequence[int]
) -> NovelViews:
    """The rules for an expert alone at cameras that were not trained on. near: as in `culling_of`.

    guard: with the mean colour behind what it covers less than at training views. frames: that it covers.
    """
    colour, coverage = seen_in_training(scene, [expert], compute, frames=frames) if guard else (None, 1.0)
    culling = culling_of(scene, [expert], compute, near=near, frames=frames)
    return NovelViews(culling=culling, coverage_guard=guard, hole_colour=colour, usual_coverage=coverage)


def open_culling(
    scene: Scene, experts: Sequence[Expert], compute: ComputeDevice, *, near: float | None, kept: float | None = None
) -> NovelViewCulling | None:
    """The culling at cameras that were not trained on, told to the log; None where near is 0.

    near: scene units; None: as it was found, `kept`, else found from the experts.
    """
    culling = culling_of(scene, experts, compute, near=kept if near is None else near)
    if culling is not None:
        logger.info(
            "novel views: Gaussians nearer than %.3g scene units (%s) that no training camera saw are culled",
            culling.near,
            "a quarter of the median depth" if near is None else "--novel_near",
        )
    elif near is None and not all(map(has_pictures, experts)):
        logger.warning("no expert shows anything at the training cameras: nothing is culled at novel views")
    return culling


def culling_of(
    scene: Scene,
    experts: Sequence[Expert],
    compute: ComputeDevice,
    *,
    near: float | None,
    frames: Sequence[int] | None = None,
) -> NovelViewCulling | None:
    """The culling at cameras that were not trained on; None where near is 0 or experts show nothing.

    frames: that the experts cover, where they are not all of the clip.
    """
    if near is None:
        near = automatic_near(scene, experts, compute, frames=range(scene.num_frames) if frames is None else frames)
    if not near:
        return None
    cameras = [scene.views[view].camera for view in scene.train]
    return novel_view_culling(near, cameras, device=compute.device)


@torch.no_grad()
def seen_in_training(
    scene: Scene, experts: Sequence[Expert], compute: ComputeDevice, *, frames: Sequence[int] | None = None
) -> tuple[tuple[float, float, float], float]:
    """The mean RGB of the experts at training views, the least wrong for what no camera saw, and their coverage there.

    Of experts with pictures the coverage is known, and no colour: they are not decoded yet. One expert at least has
    Gaussians. Coverage is as `usual_coverage` of router/novel_views.py gives it.
    """
    drawn = [expert for expert in experts if not has_pictures(expert)]
    means, alphas = [], []
    for view, frame in _moments(scene, range(scene.num_frames) if frames is None else frames):
        camera = shrunk(scene.views[view].camera, WIDTH)
        splats = [splat_of(expert, camera, frame, compute=compute) for expert in drawn]
        images = [expert.colour(splat, camera, frame=frame) for expert, splat in zip(drawn, splats, strict=True)]
        means += [image.clamp(0, 1).mean(dim=(1, 2)) for image in images]
        opaque = [torch.ones_like(splats[0].alpha)] * (len(experts) - len(drawn))
        alphas.append(torch.stack([splat.alpha for splat in splats] + opaque))
    red, green, blue = torch.stack(means).mean(dim=0).tolist()
    return (red, green, blue), usual_coverage(alphas)


def automatic_near(
    scene: Scene, experts: Sequence[Expert], compute: ComputeDevice, *, frames: Sequence[int]
) -> float | None:
    """SHARE of the median depth that experts show at training views, in scene units; None where they show nothing."""
    moments = _moments(scene, frames)
    depths = []
    for expert in experts:
        if has_pictures(expert):
            continue
        shown = [_median_depth(expert, scene.views[view].camera, frame, compute) for view, frame in moments]
        known = [depth for depth in shown if depth is not None]
        if known:
            depths.append(median(known))
    return SHARE * median(depths) if depths else None


def _moments(scene: Scene, frames: Sequence[int]) -> list[ViewFrame]:
    """Training views with a frame each, both evenly spread."""
    count = min(VIEWS, len(scene.train))
    views = [scene.train[index] for index in spread(len(scene.train), count)]
    return [
        (view, frames[round(float(at))]) for view, at in zip(views, np.linspace(0, len(frames) - 1, count), strict=True)
    ]


@torch.no_grad()
def _median_depth(expert: Expert, camera: Camera, frame: int, compute: ComputeDevice) -> float | None:
    """The median over pixels of an expert's depth at a camera, where it is opaque; None: nowhere."""
    gaussians = expert.at(frame)
    small, settings = shrunk(camera, WIDTH), replace(expert.settings, depth="mean")
    layer = Layer(gaussians=gaussians, settings=settings, background=gaussians.means.new_tensor(expert.background))
    splat = rasterize([layer], small, backend=compute.backend)[0]
    wait(compute)
    depths = splat.depth[splat.alpha > 0.5]
    return float(depths.median()) if depths.numel() else None
