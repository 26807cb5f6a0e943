"""The two stages of the CUDA back-end as autograd functions: project, then blend, all layers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..gradients import Needed, background_gradient, present
from ..types import RasterizerError
from .passes import CARRIED, GRADIENTS, IMAGES, INSTANCES, PLANES, PROJECTED, SHARED, CudaPass, operators


class Project(torch.autograd.Function):
    """Projects the 3D Gaussians of all layers to 2D ones."""

    @staticmethod
    def forward(ctx: Any, cuda_pass: CudaPass, *gaussians: Tensor) -> tuple[Tensor, ...]:
        projected = operators().project(gaussians, cuda_pass.views, cuda_pass.stream)
        shared = projected[-SHARED:]
        radii = projected[3:-SHARED:PROJECTED]
        ctx.save_for_backward(*radii, *gaussians)
        ctx.cuda_pass, ctx.layers = cuda_pass, len(radii)
        ctx.mark_non_differentiable(*radii, *shared)
        ctx.set_materialize_grads(False)
        return tuple(projected)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        radii, gaussians = ctx.saved_tensors[: ctx.layers], ctx.saved_tensors[ctx.layers :]
        given = []
        for index in range(ctx.layers):
            given += [present(gradient) for gradient in gradients[PROJECTED * index : PROJECTED * index + 3]]
        cuda_pass: CudaPass = ctx.cuda_pass
        computed = operators().project_backward(gaussians, cuda_pass.views, radii, given, cuda_pass.stream)
        needed = ctx.needs_input_grad[1:]
        return None, *(gradient if wanted else None for gradient, wanted in zip(computed, needed, strict=True))


class Blend(torch.autograd.Function):
    """Blends the 2D Gaussians of all layers, with the channels they carry, into images."""

    @staticmethod
    def forward(ctx: Any, cuda_pass: CudaPass, shared: Sequence[Tensor], *carried: Tensor) -> tuple[Tensor, ...]:
        lists, report = cuda_pass.bin(carried, shared)
        if report is None:
            raise RasterizerError(
                "a CUDA graph cannot capture a call with gradients, which needs to know what the GPU counted; capture "
                'calls with grad="none"'
            )
        images = cuda_pass.blend(carried, shared, lists, True)
        ctx.cuda_pass, ctx.report = cuda_pass, report
        ctx.counts = (len(carried), len(shared), len(lists))
        ctx.save_for_backward(*carried, *shared, *lists, *images)
        results: list[Tensor] = []
        constant: list[Tensor] = []
        for index in range(len(carried) // CARRIED):
            of_layer = images[IMAGES * index : IMAGES * index + PLANES]
            results += of_layer
            constant += _needed(ctx, index).constant(of_layer)
        ctx.mark_non_differentiable(*constant)
        ctx.set_materialize_grads(False)
        return tuple(results)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        cuda_pass: CudaPass = ctx.cuda_pass
        carried, shared, lists, images = _parts(ctx)
        needed = [_needed(ctx, index) for index in range(len(carried) // CARRIED)]
        given = [gradients[PLANES * index : PLANES * index + 3] for index in range(len(needed))]
        asked = [index for index, one in enumerate(needed) if one.any and not _absent(given[index])]
        instances = cuda_pass.mailbox.instances(ctx.report)
        if instances > lists[INSTANCES].shape[0]:  # the lists' memory was too small, so they are empty
            lists = cuda_pass.bin_again(carried, shared, instances)
        computed = operators().blend_backward(
            carried,
            shared,
            lists,
            images,
            [present(gradient) for layer in given for gradient in layer],
            asked,
            cuda_pass.width,
            cuda_pass.height,
            all(needed[index].linear for index in asked),
            cuda_pass.deterministic,
            instances,
            cuda_pass.stream,
        )
        results: list[Tensor | None] = [None, None]
        for index, one in enumerate(needed):
            if index not in asked:
                results += [None] * CARRIED
                continue
            of_layer = images[IMAGES * index : IMAGES * (index + 1)]
            background = background_gradient(of_layer[-1], of_layer[:2], given[index][:2]) if one.background else None
            results += [*_wanted(one, computed[GRADIENTS * index : GRADIENTS * (index + 1)]), background]
        return tuple(results)


def _parts(ctx: Any) -> list[Sequence[Tensor]]:
    """Tensors that `Blend.forward` saved: carried, shared, lists, images."""
    saved, parts, start = ctx.saved_tensors, [], 0
    for count in (*ctx.counts, len(saved) - sum(ctx.counts)):
        parts.append(saved[start : start + count])
        start += count
    return parts


def _absent(gradients: Sequence[Tensor | None]) -> bool:
    return all(gradient is None for gradient in gradients)


def _wanted(needed: Needed, computed: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients of means2d, conics, colours and features, None where not needed."""
    flags = (needed.means2d, needed.conics, needed.colours, needed.features)
    return [gradient if flag else None for gradient, flag in zip(computed, flags, strict=True)]


def _needed(ctx: Any, index: int) -> Needed:
    wanted = ctx.needs_input_grad[2 + CARRIED * index : 2 + CARRIED * (index + 1)]
    return Needed(**dict(zip(("means2d", "conics", "colours", "features", "background"), wanted, strict=True)))
