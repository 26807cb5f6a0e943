"""Head, softmax and blend as one kernel, and its gradient as another, written by hand (csrc/cuda/gates.cu)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from moegs_rasterizer.image_kernels import kernels, stream_of
from torch import Tensor
from torch.autograd.function import once_differentiable

from router.heads.head import SandwichHead
from router.heads.head_fused import FusedSandwichHead
from router.mixture import Mixture

MOST_EXPERTS = 8  # csrc/cuda/images.h


def has_gates_kernel(head: object, images: Tensor) -> TypeGuard[FusedSandwichHead]:
    """Tell whether `gates_of_kernel` can blend images [E, 3, h, w] by this head."""
    if type(head) is not FusedSandwichHead or len(images) > MOST_EXPERTS or kernels(images) is None:
        return False
    return all(weight.dtype == images.dtype and weight.device == images.device for weight in head.parameters())


def gates_of_kernel(
    head: SandwichHead, features: Sequence[Tensor], rays: Tensor, images: Tensor, *, temperature: float
) -> Mixture:
    """`blend(images, head(features, rays), temperature=temperature)`, up to rounding.

    features: each expert's [3, h, w]; rays [6, h, w]; images [E, 3, h, w]. Gradients reach features, head and
    images.
    """
    seen = rays if head.sees_rays else rays.new_empty(0)
    weights = [layer.weight for layer in (head.mlp1, head.mlp2, head.mlp3)]
    image, gates, logits = _Gates.apply(temperature, images, seen, *weights, *features)
    return Mixture(image=image, images=images, gates=gates, logits=logits)


class _Gates(torch.autograd.Function):
    """From features and weights to image, gates and logits."""

    @staticmethod
    def forward(ctx: Any, temperature: float, images: Tensor, rays: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        weights, features = [each.contiguous() for each in tensors[:3]], [each.contiguous() for each in tensors[3:]]
        images, rays = images.contiguous(), rays.contiguous()
        made = kernels(images).blend_gates(features, images, rays, weights, temperature, stream_of(images))
        ctx.temperature = temperature
        ctx.save_for_backward(images, rays, made[1], *weights, *features)
        ctx.set_materialize_grads(False)
        return tuple(made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        images, rays, gates, *tensors = ctx.saved_tensors
        weights, features = tensors[:3], tensors[3:]
        gradients = [images.new_empty(0) if each is None else each.contiguous() for each in given]
        of_features, of_weights = kernels(images).blend_gates_backward(
            features, images, rays, weights, ctx.temperature, gates, gradients, stream_of(images)
        )
        of_images = gates[:, None] * given[0] if ctx.needs_input_grad[1] and given[0] is not None else None
        return None, of_images, None, *_by_layer(of_weights, weights), *of_features


def _by_layer(flat: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """The layers' gradients; those of the first have room for rays, which a head may not see."""
    behind = [each.numel() for each in weights[1:]]
    first, second, third = flat.split([flat.numel() - sum(behind), *behind])
    inputs = weights[0].shape[1]
    return [
        first.view(6, -1)[:, :inputs].reshape(weights[0].shape),
        second.view_as(weights[1]),
        third.view_as(weights[2]),
    ]
