"""The one pass that applies a router: experts and routing weights rasterized together, and the gated blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, Splat, rasterize
from moegs_rasterizer.types import Backend, DepthKind, Grad, TileRule
from torch import Tensor

from common.marks import BLEND, RASTERIZE, ROUTING_WEIGHTS, mark
from experts.base import Expert
from experts.kept_frames import COMPUTED, ExpertFrames
from experts.pictures import has_pictures
from experts.windows.fading import joined_images, joined_splats
from experts.windows.model import Part, parts_at
from router.cues import cues_of
from router.gates_cuda import gates_of_kernel, has_gates_kernel
from router.layers import at_frame, layer_of
from router.mixture import Mixture, blend, shrunk_to_mean
from router.novel_views import (
    PLAIN,
    NovelViews,
    fill_holes,
    holes,
    limited_by_coverage,
    little_covered,
    on_hole_colour,
)
from router.pictures import with_pictures
from router.router import Router


def mix(
    router: Router,
    experts: Sequence[Expert],
    camera: Camera,
    *,
    frame: float,
    time: float,
    temperature: float,
    camera_number: int | None = None,
    grad: Grad = "none",
    backend: Backend = "auto",
    tile_rule: TileRule | None = None,
    depths: bool = False,
    novel: NovelViews = PLAIN,
    frames: ExpertFrames = COMPUTED,
) -> Mixture:
    """Render every expert and its routing weights in one rasterizer call and blend the images (MoE-GS eqs. 6-8).

    time: frame / frames of the clip, the same for all experts. camera_number: of a training camera only; E-D3DGS's
    per-camera offset was never learned for others. grad="features" lets gradients reach the router's parameters; the
    experts' images are constants. grad="full" lets them reach the experts' parameters, too, where they ask for
    gradients. tile_rule None: each expert's own. depths: the mixture also holds alphas and depths. novel: rules that
    hold at cameras without a number. frames: where experts' Gaussians come from, if they do not learn; what it keeps is
    given up where the GPU has no memory left.
    """
    novel = novel if camera_number is None else PLAIN
    learning = grad == "full"
    source = COMPUTED if learning else frames
    given = partial(at_frame, camera_number=camera_number, culling=novel.culling, frames=source, learning=learning)
    parts = [parts_at(expert, frame) for expert in experts]

    def mixed() -> Mixture:
        flat = chain.from_iterable(parts)
        found = [None if has_pictures(part.expert) else given(part.expert, camera, part.frame) for part in flat]
        return mix_gaussians(
            router,
            experts,
            [None if each is None else each.gaussians for each in found],
            camera,
            frame=frame,
            time=time,
            temperature=temperature,
            grad=grad,
            backend=backend,
            tile_rule=tile_rule,
            depths=depths,
            novel=novel,
            rows=[None if each is None else each.rows for each in found],
            parts=parts,
        )

    return frames.retried(mixed)


def mix_gaussians(
    router: Router,
    experts: Sequence[Expert],
    gaussians: Sequence[Gaussians | None],
    camera: Camera,
    *,
    frame: float,
    time: float,
    temperature: float,
    grad: Grad,
    backend: Backend = "auto",
    tile_rule: TileRule | None = None,
    depths: bool = False,
    novel: NovelViews = PLAIN,
    rows: Sequence[Tensor | None] | None = None,
    parts: Sequence[Sequence[Part]] | None = None,
) -> Mixture:
    """As `mix`, of each expert's Gaussians at the frame, None where it has pictures; novel holds whatever the camera.

    rows: for each of them, which of the expert's rows at the frame these are; None: all. parts: of each expert, where
    Gaussians are those of its parts.
    """
    if parts is None:
        parts = [(Part(expert=each, frame=frame, rows=each.rows(frame), share=1.0),) for each in experts]
    # Of layers blended in half precision the depth is a sum; here nobody looks at another kind.
    depth: DepthKind | None = "sum" if depths or router.cues is not None or backend == "cuda-half" else None
    with torch.set_grad_enabled(grad != "none"):
        with mark(ROUTING_WEIGHTS):
            weights = [router.features(index, part.rows, time) for index, own in enumerate(parts) for part in own]
        layers = _layers(parts, gaussians, weights, rows, tile_rule=tile_rule, depth=depth)
        with mark(RASTERIZE):
            drawn = iter(rasterize(layers, camera, grad=grad, backend=backend, deterministic=True) if layers else ())
        rasterized = [None if each is None else next(drawn) for each in gaussians]
        with mark(BLEND):
            with torch.set_grad_enabled(grad == "full"):
                images = _images(parts, rasterized, camera)
            seen = _rays(router, camera, like=images, kept=grad != "none")
            splats = with_pictures(joined_splats(parts, rasterized), images, router.features_of_pictures(), time=time)
            mixture = blended(router, experts, splats, images, seen, temperature=temperature, novel=novel)
    return _with_depths(mixture, splats) if depths else mixture


def _layers(
    parts: Sequence[Sequence[Part]],
    gaussians: Sequence[Gaussians | None],
    weights: Sequence[Tensor],
    rows: Sequence[Tensor | None] | None,
    *,
    tile_rule: TileRule | None,
    depth: DepthKind | None,
) -> list[Layer]:
    """The layers of all parts that have Gaussians. weights: of all rows of each part; rows: as in `mix_gaussians`."""
    flat = list(chain.from_iterable(parts))
    shown = [None] * len(flat) if rows is None else rows
    return [
        layer_of(each, part.expert, own if left is None else own[left], tile_rule=tile_rule, depth=depth)
        for each, part, own, left in zip(gaussians, flat, weights, shown, strict=True)
        if each is not None
    ]


def _images(parts: Sequence[Sequence[Part]], splats: Sequence[Splat | None], camera: Camera) -> Tensor:
    """The experts' images [E, 3, h, w], joined from those of their parts."""
    flat = chain.from_iterable(parts)
    of_parts = [_image(part.expert, splat, camera, part.frame) for part, splat in zip(flat, splats, strict=True)]
    return torch.stack(joined_images(parts, of_parts))


def _image(expert: Expert, splat: Splat | None, camera: Camera, frame: float) -> Tensor:
    """An expert's image [3, h, w], from its splat or its pictures."""
    if splat is not None:
        return expert.colour(splat, camera, frame=frame)
    assert has_pictures(expert), "only they have no Gaussians"
    return expert.picture(camera, frame)


def _rays(router: Router, camera: Camera, *, like: Tensor, kept: bool) -> Tensor:
    """A camera's ray map [6, h, w]. kept: for training, which comes back to it; images may be of any camera."""
    rays = router.rays.of if kept else router.rays.of_last
    return rays(camera, dtype=like.dtype, device=like.device)


def blended(
    router: Router,
    experts: Sequence[Expert],
    splats: Sequence[Splat],
    images: Tensor,
    rays: Tensor,
    *,
    temperature: float,
    novel: NovelViews,
) -> Mixture:
    """The gated sum of the experts' images [E, 3, h, w] under the rules for novel views. rays: of the camera."""
    alphas = _stacked(splats, "alpha")
    if novel.hole_colour is not None:
        hole = little_covered(alphas, novel.usual_coverage)
        images = on_hole_colour(images, alphas, experts, novel.hole_colour, hole=hole)
    features = [splat.features for splat in splats if splat.features is not None]
    if router.cues is None and not novel.coverage_guard and has_gates_kernel(router.head, images):
        # The choice: what follows gives the same up to rounding, in more launches.
        mixture = gates_of_kernel(router.head, features, rays, images, temperature=temperature)
    else:
        mixture = _blended_by_logits(router, features, splats, images, rays, temperature=temperature, novel=novel)
    mixture = replace(mixture, alphas=alphas)
    if novel.coverage_guard:
        hole = little_covered(alphas, novel.usual_coverage)
        mixture = shrunk_to_mean(mixture, novel.towards_mean + (1 - novel.towards_mean) * hole)
    elif novel.towards_mean:
        mixture = shrunk_to_mean(mixture, novel.towards_mean)
    if novel.fill_holes:
        mixture = replace(mixture, image=fill_holes(mixture.image, holes(alphas)))
    return mixture


def _blended_by_logits(
    router: Router,
    features: Sequence[Tensor],
    splats: Sequence[Splat],
    images: Tensor,
    rays: Tensor,
    *,
    temperature: float,
    novel: NovelViews,
) -> Mixture:
    """The gated sum under the rules that change logits. features: each expert's splatted routing weights."""
    alphas = _stacked(splats, "alpha")
    logits = router.head(features, rays)
    if router.cues is not None:
        logits = logits + router.cues(cues_of(images, alphas, _stacked(splats, "depth")))
    if novel.coverage_guard:
        logits = limited_by_coverage(logits, alphas, temperature=temperature)
    return blend(images, logits, temperature=temperature)


def _stacked(splats: Sequence[Splat], name: str) -> Tensor:
    """One map of all experts [E, h, w], as a constant."""
    return torch.stack([getattr(splat, name).detach() for splat in splats])


def _with_depths(mixture: Mixture, splats: Sequence[Splat]) -> Mixture:
    return replace(mixture, alphas=_stacked(splats, "alpha"), depths=_stacked(splats, "depth"))
