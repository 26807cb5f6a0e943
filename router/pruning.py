"""Scores of Gaussians at one image, by how much the mixture depends on each: gate-aware pruning ranks by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, rasterize
from moegs_rasterizer.types import Backend
from torch import Tensor

from experts.base import Expert
from router.mixture import Mixture
from router.router import Router

ScoreKind = Literal["gate", "contribution"]
SCORES = get_args(ScoreKind)


def gate_scores(router: Router, render: Callable[[], Mixture], *, temperature: float) -> list[Tensor]:
    """By expert [rows at the frame]: the length of the derivative of its gate by a Gaussian's routing weights.

    MoE-GS eq. 10 at one view. The gate is summed over the image; the weights are the three that are splatted. render:
    gives the mixture with gradients to the router. One pass back through features alone gives all experts' scores:
    a gate's own logit has the derivative gate x (1 - gate) / temperature.
    """
    splatted: list[Tensor] = []
    hook = router.features.register_forward_hook(lambda _module, _inputs, weights: splatted.append(weights))
    try:
        mixture = render()
    finally:
        hook.remove()
    slopes = (mixture.gates * (1 - mixture.gates) / temperature).detach().to(mixture.logits.dtype)
    return [grad.norm(dim=1) for grad in torch.autograd.grad(mixture.logits, splatted, slopes)]


def contribution_scores(
    experts: Sequence[Expert], gaussians: Sequence[Gaussians], camera: Camera, *, gates: Tensor, backend: Backend
) -> list[Tensor]:
    """By expert [its Gaussians]: the sum over pixels of gate x alpha x transmittance.

    It is the weight of a Gaussian's colour in the blended image. gates: [E, h, w].
    """
    weights = [each.means.new_ones((each.count, 1)).requires_grad_() for each in gaussians]
    layers = [
        Layer(
            gaussians=each,
            settings=expert.settings,
            features=features,
            background=each.means.new_zeros(each.colour_channels + 1),
        )
        for expert, each, features in zip(experts, gaussians, weights, strict=True)
    ]
    with torch.enable_grad():
        splats = rasterize(layers, camera, grad="features", backend=backend, deterministic=True)
        maps = [splat.features for splat in splats if splat.features is not None]
    return [grad[:, 0] for grad in torch.autograd.grad(maps, weights, list(gates.to(maps[0].dtype)[:, None]))]
