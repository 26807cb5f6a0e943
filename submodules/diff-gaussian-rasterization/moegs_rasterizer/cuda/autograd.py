"""The derivatives of a pass as two autograd functions, projecting and blending: between them lies Splat.means2d.

Neither computes anything on the way forward: one operator has made everything, and they hand it out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..gradients import Needed, background_gradient, present
from ..types import RasterizerError
from . import passes
from .passes import HAS_COLOURS, RESULTS, SAVED, UNREAD, CudaPass, Made, check_room, operators
from .reports import Report
from .words import NOT_FINITE

PROJECTED, CARRIED, BLENDED, PLANES, GRADIENTS = 3, 5, 4, 3, 4  # tensors a layer
GAUSSIANS = 6
MEANS, SCALES, QUATS, OPACITIES, SH, COLOURS, FEATURES, _ = range(len(NOT_FINITE))

NO_SH = torch.empty(0, 1, 3)


def _once(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., tuple[Tensor | None, ...]]:
    """As `once_differentiable`, whose wrapping costs microseconds, but only where gradients are being recorded."""
    recorded = torch.autograd.function.once_differentiable(backward)

    @functools.wraps(backward)
    def chosen(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return (recorded if torch.is_grad_enabled() else backward)(ctx, *gradients)

    return chosen


class Project(torch.autograd.Function):
    """From means, scales, quats, opacities, sh and the rest of sh of each layer to means2d, conics and colours.

    Of raw Gaussians these are the raw values; of others there is no rest of sh.
    """

    @staticmethod
    def forward(ctx: Any, cuda_pass: CudaPass, made: Made, *gaussians: Tensor | None) -> tuple[Tensor, ...]:
        ctx.cuda_pass, ctx.kinds, ctx.in_graph = cuda_pass, made.kinds, made.report is None
        radii = made.results[1::RESULTS]
        ctx.save_for_backward(*radii, made.views, *gaussians)
        ctx.set_materialize_grads(False)
        projected: list[Tensor] = []
        for index in range(len(radii)):
            projected += (made.results[RESULTS * index], *made.saved[SAVED * index : SAVED * index + 2])
        return tuple(projected)

    @staticmethod
    @_once
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, layers = ctx.saved_tensors, len(gradients) // PROJECTED
        gaussians: list[Tensor] = []
        for index, radii in enumerate(saved[:layers]):
            start = layers + 1 + GAUSSIANS * index
            gaussians += [NO_SH if one is None else one.contiguous() for one in saved[start : start + GAUSSIANS]]
            gaussians.append(radii)
        given = [present(gradient) for gradient in gradients]
        cuda_pass: CudaPass = ctx.cuda_pass
        needed = ctx.needs_input_grad[2:]
        looked_at = [_bits(needed[GAUSSIANS * index : GAUSSIANS * (index + 1)]) for index in range(layers)]
        faults = (cuda_pass.mailbox.gradients.data_ptr(), cuda_pass.first_layer, looked_at)
        stream = cuda_pass.stream.cuda_stream
        views = (saved[layers], ctx.in_graph)
        computed = operators().project_backward(gaussians, ctx.kinds, given, *views, *faults, stream)
        return None, None, *(one if wanted else None for one, wanted in zip(computed, needed, strict=True))


class Blend(torch.autograd.Function):
    """From means2d, conics, colours, features and background of each layer to the images of colour, features, alpha.

    None stands for what is absent or wants no gradient.
    """

    @staticmethod
    def forward(ctx: Any, cuda_pass: CudaPass, made: Made, *carried: Tensor | None) -> tuple[Tensor, ...]:
        ctx.cuda_pass, ctx.capacity, ctx.report, ctx.kinds = cuda_pass, made.capacity, made.report, made.kinds
        ctx.needed = []
        blended: list[Tensor] = []
        images: list[Tensor] = []
        constant: list[Tensor] = []
        for index in range(len(carried) // CARRIED):
            colour, features, alpha, depth = made.results[RESULTS * index + 2 : RESULTS * (index + 1)]
            conics, _, left = made.saved[SAVED * index : SAVED * (index + 1)]
            needed = _needed(ctx.needs_input_grad[2 + CARRIED * index : 2 + CARRIED * (index + 1)])
            ctx.needed.append(needed)
            blended += (conics, colour, features, left)
            images += (colour, features, alpha)
            if not needed.shape:
                constant += (one for one in needed.constant((colour, features, alpha, depth)) if one is not depth)
        ctx.save_for_backward(*blended, made.kept)
        if constant:
            ctx.mark_non_differentiable(*constant)
        ctx.set_materialize_grads(False)
        return tuple(images)

    @staticmethod
    @_once
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        cuda_pass: CudaPass = ctx.cuda_pass
        needed: list[Needed] = ctx.needed
        *blended, kept = ctx.saved_tensors
        given = [gradients[PLANES * index : PLANES * (index + 1)] for index in range(len(needed))]
        asked = [index for index, one in enumerate(needed) if one.any and not _absent(given[index])]
        faults, first, stream = (
            cuda_pass.mailbox.gradients.data_ptr(),
            cuda_pass.first_layer,
            cuda_pass.stream.cuda_stream,
        )
        looked_at = [_carried_bits(one, kind) for one, kind in zip(needed, ctx.kinds, strict=True)]
        flags = (
            all(needed[index].linear for index in asked),
            cuda_pass.deterministic,
            faults,
            first,
            looked_at,
            stream,
        )
        images = [present(gradient) for gradient in gradients]

        def launched(instances: int) -> list[Tensor]:
            check_room(instances)
            made: list[Tensor] = operators().blend_backward(
                blended, kept, images, asked, ctx.capacity, instances, *flags
            )
            return made

        computed = _launched(launched, cuda_pass, ctx.report, ctx.capacity)
        results: list[Tensor | None] = [None, None]
        for index, one in enumerate(needed):
            if index not in asked:
                results += [None] * CARRIED
                continue
            _, colour, features, left = blended[BLENDED * index : BLENDED * (index + 1)]
            background = None
            if one.background:
                background = background_gradient(left, (colour, features), given[index][:2])
                operators().look_at_background(background, faults, first + index, stream)
            results += (*_wanted(one, computed[GRADIENTS * index : GRADIENTS * (index + 1)]), background)
        return tuple(results)


def _launched(
    launched: Callable[[int], list[Tensor]], cuda_pass: CudaPass, report: Report | None, capacity: int
) -> list[Tensor]:
    """What launched(instances of the forward pass) gives.

    Where the GPU has not told their number, this launches as if there was room for them, so that the GPU has work while
    the host waits for the report. Where there was none, lists were empty and the work is done again. In a CUDA graph
    nobody waits: the kernels look whether there was room.
    """
    if report is None:
        return launched(UNREAD)
    if passes.captured():
        raise RasterizerError(
            "a CUDA graph cannot capture the backward pass of a call made before it; capture the call, too"
        )
    box = cuda_pass.mailbox
    instances = box.instances_so_far(report) if launches_early() else box.instances(report)
    if instances is not None:
        return launched(instances)
    computed = launched(capacity)
    instances = box.instances(report)
    return computed if instances <= capacity else launched(instances)


def launches_early() -> bool:
    """True: a backward pass is launched before its forward pass has reported; benchmarks measure the other way."""
    return True


def _bits(needed: Sequence[bool]) -> int:
    """Bits of NOT_FINITE in words.py whose gradients are looked at; of means, scales, quats, opacities, sh, rest."""
    bits = 0
    for kind, wanted in zip((MEANS, SCALES, QUATS, OPACITIES, SH, SH), needed, strict=True):
        if wanted:
            bits |= 1 << kind
    return bits


def _carried_bits(needed: Needed, kind: int) -> int:
    """The same of colours, where they were given and not made from sh, and of features."""
    return (1 << COLOURS if needed.colours and kind & HAS_COLOURS else 0) | (1 << FEATURES if needed.features else 0)


def _absent(gradients: Sequence[Tensor | None]) -> bool:
    return all(gradient is None for gradient in gradients)


def _wanted(needed: Needed, computed: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients of means2d, conics, colours and features, None where not needed."""
    flags = (needed.means2d, needed.conics, needed.colours, needed.features)
    return [gradient if flag else None for gradient, flag in zip(computed, flags, strict=True)]


def _needed(wanted: Sequence[bool]) -> Needed:
    means2d, conics, colours, features, background = wanted
    return Needed(means2d=means2d, conics=conics, colours=colours, features=features, background=background)
