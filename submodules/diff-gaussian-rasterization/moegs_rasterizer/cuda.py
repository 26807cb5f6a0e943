"""The CUDA back-end: float32 on an NVIDIA GPU, every layer of a call in one pass, no host waiting for the GPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .cuda_reports import MOST_INSTANCES, MOST_LAYERS, Mailbox, Report, check, mailbox
from .gradients import Needed, background_gradient, present
from .types import Camera, Grad, Layer, RasterizerError, Splat
from .views import blend_options, view_rows

__all__ = ["check", "rasterize_layers", "unavailable_reason"]

# Tensors a layer in the operators' lists, and of all layers together: csrc/cuda/ops.h.
PROJECTED, CARRIED, IMAGES, GRADIENTS = 4, 5, 5, 4
PLANES = 4  # images that are results


@functools.cache
def unavailable_reason() -> str | None:
    """Why the CUDA back-end cannot run here, or None. The first call compiles it, if it was not compiled before."""
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return (
            f"PyTorch {torch.__version__}, {built}, finds no NVIDIA GPU; see whether nvidia-smi lists one, and install "
            "a PyTorch with CUDA from https://pytorch.org/get-started/locally"
        )
    from . import build_cuda

    try:
        path = build_cuda.library().path
        torch.ops.load_library(str(path))
    except RasterizerError as error:
        return str(error)
    except OSError as error:
        return f"cannot load {path}: {error}; delete it to have it built again"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ops:
    """The operators, found by name once."""

    project: Any
    project_backward: Any
    bin: Any
    blend: Any
    blend_backward: Any


@functools.cache
def _ops() -> _Ops:
    found = torch.ops.moegs_rasterizer_cuda
    return _Ops(
        project=found.project.default,
        project_backward=found.project_backward.default,
        bin=found.bin.default,
        blend=found.blend.default,
        blend_backward=found.blend_backward.default,
    )


def rasterize_layers(layers: list[Layer], camera: Camera, grad: Grad, deterministic: bool) -> list[Splat]:
    """Rasterize validated float32 layers on one GPU; kernels take MOST_LAYERS layers at a time.

    Raises RasterizerError where an earlier call on this GPU was given bad values.
    """
    views = view_rows(camera, [layer.settings for layer in layers])
    device = layers[0].gaussians.means.device
    stream = _stream_of(device)
    splats: list[Splat] = []
    for first in range(0, len(layers), MOST_LAYERS):
        group = layers[first : first + MOST_LAYERS]
        options = [blend_options(layer.settings) for layer in group]
        call = _Call(
            views=torch.tensor(views[first : first + MOST_LAYERS], dtype=torch.float64),
            options=torch.tensor(options, dtype=torch.float64),
            width=camera.width,
            height=camera.height,
            first_layer=first,
            deterministic=deterministic,
            device=device,
            stream=stream,
        )
        splats += _rasterize_group(group, call, grad)
    return splats


def _stream_of(device: torch.device) -> int:
    return int(torch.cuda.current_stream(device).cuda_stream)


def _captured() -> bool:
    """Whether what is launched now is recorded in a CUDA graph instead of run."""
    return torch.cuda.is_current_stream_capturing()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What a pass needs besides tensors of Gaussians."""

    views: Tensor  # [layers, doubles of View in csrc/layout.h] on the CPU
    options: Tensor  # [layers, 2] on the CPU
    width: int
    height: int
    first_layer: int
    deterministic: bool
    device: torch.device
    stream: int  # of PyTorch on the device: autograd runs a pass's backward on the stream of its forward

    @property
    def mailbox(self) -> Mailbox:
        return mailbox(self.device)

    def bin(
        self, carried: Sequence[Tensor], shared: Sequence[Tensor], capacity: int | None = None
    ) -> tuple[Any, Report | None]:
        """Tile lists with room for `capacity` instances (by default a guess), and what the GPU will say of them."""
        rows = [tensor.shape[0] for tensor in carried[::CARRIED]]
        size = (self.width, self.height, len(rows), sum(rows).bit_length())
        captured = _captured()
        mail, sequence = (self.mailbox.unread(), 0) if captured else self.mailbox.open()
        if capacity is None:
            capacity = self.mailbox.capacity(size, sum(rows))
        lists = _ops().bin(carried, shared, mail, sequence, capacity, self.width, self.height, self.stream)
        if captured:
            return lists, None
        return lists, self.mailbox.sent(sequence, size=size, first_layer=self.first_layer, device=self.device)

    def blend(self, carried: Sequence[Tensor], shared: Sequence[Tensor], lists: Any, save: bool) -> list[Tensor]:
        images: list[Tensor] = _ops().blend(
            carried, shared, lists, self.options, self.width, self.height, save, self.stream
        )
        return images


def _rasterize_group(layers: list[Layer], call: _Call, grad: Grad) -> list[Splat]:
    gaussians: list[Tensor] = []
    for layer in layers:
        given = layer.gaussians
        sh = given.means.new_empty((0, 1, 3)) if given.sh is None else given.sh
        gaussians += [one.contiguous() for one in (given.means, given.scales, given.quats, given.opacities, sh)]
    projected: Sequence[Tensor]
    if grad == "full" and torch.is_grad_enabled():
        projected = _Project.apply(call, *gaussians)
    else:
        projected = _ops().project(gaussians, call.views, call.stream)
    shared = projected[PROJECTED * len(layers) :]
    carried: list[Tensor] = []
    for index, layer in enumerate(layers):
        means2d, conics, colours, _ = projected[PROJECTED * index : PROJECTED * (index + 1)]
        if layer.gaussians.colours is not None:
            colours = layer.gaussians.colours.contiguous()
        features = means2d.new_empty((len(means2d), 0)) if layer.features is None else layer.features.contiguous()
        carried += [means2d, conics, colours, features, layer.background.contiguous()]
    if grad != "none" and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in carried):
        images = _Blend.apply(call, shared, *carried)
    else:
        lists, _ = call.bin(carried, shared)
        images = call.blend(carried, shared, lists, False)
    return [_splat(layer, index, projected, images) for index, layer in enumerate(layers)]


def _splat(layer: Layer, index: int, projected: Sequence[Tensor], images: Sequence[Tensor]) -> Splat:
    each = len(images) // ((len(projected) - PROJECTED) // PROJECTED)
    colour, features, alpha, depth = images[each * index : each * index + PLANES]
    means2d, _, _, radii = projected[PROJECTED * index : PROJECTED * (index + 1)]
    return Splat(
        colour=colour,
        features=None if layer.features is None else features,
        alpha=alpha,
        depth=depth,
        radii=radii,
        means2d=means2d,
    )


class _Project(torch.autograd.Function):
    """From 3D Gaussians to 2D ones, of all layers."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *gaussians: Tensor) -> tuple[Tensor, ...]:
        projected = _ops().project(gaussians, call.views, call.stream)
        shared = projected[-PROJECTED:]
        radii = projected[3:-PROJECTED:PROJECTED]
        ctx.save_for_backward(*radii, *gaussians)
        ctx.call, ctx.layers = call, len(radii)
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
        found = _ops().project_backward(gaussians, ctx.call.views, radii, given, ctx.call.stream)
        needed = ctx.needs_input_grad[1:]
        return None, *(gradient if wanted else None for gradient, wanted in zip(found, needed, strict=True))


class _Blend(torch.autograd.Function):
    """From 2D Gaussians and what they carry to images, of all layers."""

    @staticmethod
    def forward(ctx: Any, call: _Call, shared: Sequence[Tensor], *carried: Tensor) -> tuple[Tensor, ...]:
        lists, report = call.bin(carried, shared)
        if report is None:
            raise RasterizerError(
                "a CUDA graph cannot capture a call with gradients, which needs to know what the GPU found; capture "
                'calls with grad="none"'
            )
        images = call.blend(carried, shared, lists, True)
        ctx.call, ctx.report = call, report
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
        call: _Call = ctx.call
        parts, start = [], 0
        for count in (*ctx.counts, len(ctx.saved_tensors) - sum(ctx.counts)):
            parts.append(ctx.saved_tensors[start : start + count])
            start += count
        carried, shared, lists, images = parts
        needed = [_needed(ctx, index) for index in range(len(carried) // CARRIED)]
        given = [gradients[PLANES * index : PLANES * index + 3] for index in range(len(needed))]
        asked = [
            index for index, one in enumerate(needed) if one.any and any(image is not None for image in given[index])
        ]
        instances = call.mailbox.instances(ctx.report)
        if instances > lists[2].shape[0]:  # the lists' memory was too small, so they are empty
            lists = _lists_again(call, carried, shared, instances)
        found = _ops().blend_backward(
            carried,
            shared,
            lists,
            images,
            [present(gradient) for layer in given for gradient in layer],
            asked,
            call.width,
            call.height,
            all(needed[index].linear for index in asked),
            call.deterministic,
            instances,
            call.stream,
        )
        results: list[Tensor | None] = [None, None]
        for index, one in enumerate(needed):
            if index not in asked:
                results += [None] * CARRIED
                continue
            means2d, conics, colours, features = found[GRADIENTS * index : GRADIENTS * (index + 1)]
            pictures = images[IMAGES * index : IMAGES * (index + 1)]
            results += [
                means2d if one.means2d else None,
                conics if one.conics else None,
                colours if one.colours else None,
                features if one.features else None,
                background_gradient(pictures[-1], pictures[:2], given[index][:2]) if one.background else None,
            ]
        return tuple(results)


def _needed(ctx: Any, index: int) -> Needed:
    wanted = ctx.needs_input_grad[2 + CARRIED * index : 2 + CARRIED * (index + 1)]
    return Needed(**dict(zip(("means2d", "conics", "colours", "features", "background"), wanted, strict=True)))


def _lists_again(call: _Call, carried: Sequence[Tensor], shared: Sequence[Tensor], instances: int) -> Any:
    if instances > MOST_INSTANCES:
        raise RasterizerError(
            f"{instances} pairs of Gaussians and tiles are more than the CUDA back-end's gradients can list "
            f"({MOST_INSTANCES}); render fewer or smaller Gaussians, or fewer layers in one call"
        )
    lists, _ = call.bin(carried, shared, instances)
    return lists
