"""Scores of Gaussians at one image, by how much the mixture depends on each: gate-aware pruning ranks by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, rasterize
from moegs_rasterizer.types import Backend
from torch import Tensor

from experts.base import Expert
from router.mixture import Mixture
from router.router import Router

ScoreKind = Literal["gate", "contribution", "image"]
SCORES = get_args(ScoreKind)


def gate_scores(router: Router, render: Callable[[], Mixture], *, temperature: float) -> list[Tensor]:
    """By expert, or part of one [its rows]: the length of the derivative of its gate by a Gaussian's routing weights.

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


def image_scores(
    gaussians: Sequence[Gaussians], render: Callable[[Sequence[Gaussians]], Mixture], *, generator: torch.Generator
) -> list[Tensor]:
    """By expert [its Gaussians]: an estimate of the squared change of the blended image when a Gaussian is removed.

    An image is linear in each Gaussian's alpha, so that opacity x derivative is what removal takes from it; of the
    gates it is the first order. The sum over pixels and channels of its square is the mean square of the derivative of
    a sum with random signs (Hutchinson 1990): one draw here, the mean over images is the estimate. render: the mixture
    of Gaussians, with gradients to them.
    """
    opacities = [each.opacities.detach().requires_grad_() for each in gaussians]
    image = render([replace(each, opacities=own) for each, own in zip(gaussians, opacities, strict=True)]).image
    signs = (2 * torch.randint(2, image.shape, generator=generator) - 1).to(image)
    slopes = torch.autograd.grad(image, opacities, signs)
    return [(own * slope).square().detach() for own, slope in zip(opacities, slopes, strict=True)]
