"""The volume-aware pixel router and the one pass that applies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, Splat, camera_rays, rasterize
from moegs_rasterizer.types import Backend, DepthKind, TileRule
from torch import nn

from common.marks import BLEND, RASTERIZE, ROUTING_WEIGHTS, at_a_frame, mark
from common.tensors import constant
from experts.base import Expert
from experts.novel_views import NovelViewCulling
from router.defaults import DEFAULT_EVAL_TEMPERATURE, DEFAULT_TEMPERATURE
from router.features import FEATURE_BACKGROUND, RoutingFeatures
from router.heads import DEFAULT_HEAD, HeadKind, new_head
from router.mixture import Mixture, blend
from router.novel_views import PLAIN, NovelViews, fill_holes, holes, limited_by_coverage, on_common_background
from router.rays import KeptRays


class Router(nn.Module):
    """All that stage 2 learns, with the temperatures that belong to it.

    expert_names and counts (rows of each expert's routing table) come in softmax order. eval_temperature None means the
    training temperature.
    """

    def __init__(
        self,
        expert_names: Sequence[str],
        counts: Sequence[int],
        *,
        kind: HeadKind = DEFAULT_HEAD,
        init: float = 0.9,
        temperature: float = DEFAULT_TEMPERATURE,
        eval_temperature: float | None = DEFAULT_EVAL_TEMPERATURE,
    ) -> None:
        super().__init__()
        self.expert_names = tuple(expert_names)
        self.features = RoutingFeatures(counts, init)
        self.head_kind = kind
        self.head = new_head(kind)
        self.rays = KeptRays()
        self.temperature = temperature
        self.eval_temperature = temperature if eval_temperature is None else eval_temperature


def mix(
    router: Router,
    experts: Sequence[Expert],
    camera: Camera,
    *,
    frame: float,
    time: float,
    temperature: float,
    camera_number: int | None = None,
    grad: Literal["none", "features"] = "none",
    backend: Backend = "auto",
    tile_rule: TileRule | None = None,
    depths: bool = False,
    novel: NovelViews = PLAIN,
) -> Mixture:
    """Render every expert and its routing weights in one rasterizer call and blend the images (MoE-GS eqs. 6-8).

    time: frame / frames of the clip, the same for all experts. camera_number: of a training camera only; E-D3DGS's
    per-camera offset was never learned for others. grad="features" lets gradients reach the router's parameters; the
    experts' images are constants. tile_rule None: each expert's own. depths: the mixture also holds alphas and depths.
    novel: rules that hold at cameras without a number.
    """
    novel = novel if camera_number is None else PLAIN
    with torch.set_grad_enabled(grad != "none"):
        with mark(ROUTING_WEIGHTS):
            weights = [router.features(index, expert.rows(frame), time) for index, expert in enumerate(experts)]
        layers = [
            _layer(
                gaussians_of(expert, camera, frame, camera_number=camera_number, culling=novel.culling),
                expert,
                features,
                tile_rule=tile_rule,
                depth="sum" if depths else None,
            )
            for expert, features in zip(experts, weights, strict=True)
        ]
        with mark(RASTERIZE):
            splats = rasterize(layers, camera, grad=grad, backend=backend, deterministic=True)
        with mark(BLEND):
            with torch.no_grad():
                images = torch.stack(
                    [e.colour(splat, camera, frame=frame) for e, splat in zip(experts, splats, strict=True)]
                )
            features = [splat.features for splat in splats if splat.features is not None]
            rays = camera_rays if grad == "none" else router.rays.of  # images may be of any camera, training's return
            seen = rays(camera, dtype=features[0].dtype, device=features[0].device)
            logits = router.head(features, seen)
            alphas = torch.stack([splat.alpha.detach() for splat in splats])
            if novel.coverage_guard:
                images = on_common_background(images, alphas, experts)
                logits = limited_by_coverage(logits, alphas, temperature=temperature)
            mixture = blend(images, logits, temperature=temperature)
            if novel.fill_holes:
                mixture = replace(mixture, image=fill_holes(mixture.image, holes(alphas)))
    return _with_depths(mixture, splats) if depths else mixture


def _with_depths(mixture: Mixture, splats: Sequence[Splat]) -> Mixture:
    alphas, depths = ([getattr(splat, name).detach() for splat in splats] for name in ("alpha", "depth"))
    return replace(mixture, alphas=torch.stack(alphas), depths=torch.stack(depths))


@torch.no_grad()
def gaussians_of(
    expert: Expert,
    camera: Camera,
    frame: float,
    *,
    camera_number: int | None = None,
    culling: NovelViewCulling | None = None,
) -> Gaussians:
    """An expert's Gaussians for a camera at a frame, culled where it was not trained on (it has no number)."""
    with mark(at_a_frame(expert.name)):
        gaussians = expert.at(frame, camera=camera_number)
        return gaussians if culling is None or camera_number is not None else culling.cull(gaussians, camera)


def _layer(
    gaussians: Gaussians,
    expert: Expert,
    features: torch.Tensor,
    *,
    tile_rule: TileRule | None,
    depth: DepthKind | None,
) -> Layer:
    settings = expert.settings if tile_rule is None else replace(expert.settings, tile_rule=tile_rule)
    settings = settings if depth is None else replace(settings, depth=depth)
    background = constant((*expert.background, *FEATURE_BACKGROUND), gaussians.means.dtype, gaussians.means.device)
    return Layer(gaussians=gaussians, settings=settings, features=features, background=background)
