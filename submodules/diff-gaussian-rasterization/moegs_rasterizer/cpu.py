"""The C++ back-end: float32 on the CPU, in two differentiable stages (project, blend)."""

from __future__ import annotations

import functools
import math
import os
import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import build
from .types import Camera, Grad, Layer, RasterizerError, RasterSettings, Splat

# In the order of the enumeration in csrc/kernels.h. MOEGS_RASTERIZER_ISA chooses one, for tests; else the last that runs.
ISAS = ("portable", "avx2", "avx512")
DEPTH_KINDS = ("sum", "mean", "median")  # order of DepthKind in csrc/layout.h
INPUTS, OUTPUTS, SAVED, GRADIENTS = 7, 4, 6, 4  # tensors a layer in the operators' lists: csrc/ops.h

_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """What a blending call needs besides tensors."""

    width: int
    height: int
    isa: int
    linear: bool  # only the features can have gradients


def unavailable_reason() -> str | None:
    """Why this back-end cannot run here, or None. The first call compiles it, if it was not compiled before."""
    with _lock:  # two threads at once would define the operators twice
        return _load()


def rasterize_layers(layers: list[Layer], camera: Camera, grad: Grad) -> list[Splat]:
    """Rasterize validated float32 layers; raises RasterizerError where the library cannot be built or loaded."""
    _require()
    size = _Size(width=camera.width, height=camera.height, isa=_isa(), linear=grad == "features")
    inputs: list[Tensor] = []
    all_radii = []
    for layer in layers:
        means2d, conics, colours, depths, radii, tiles = _project(layer, camera, size.isa)
        features = layer.features
        if features is None:
            features = means2d.new_empty((len(means2d), 0))
        inputs += [means2d, conics, depths, tiles, colours, features.contiguous(), layer.background.contiguous()]
        all_radii.append(radii)
    options = [_blend_options(layer.settings) for layer in layers]
    images = _Blend.apply(torch.tensor(options, dtype=torch.float64), size, *inputs)
    splats = []
    for index, (layer, radii) in enumerate(zip(layers, all_radii, strict=True)):
        colour, features, alpha, depth = images[index * OUTPUTS : (index + 1) * OUTPUTS]
        splats.append(
            Splat(
                colour=colour,
                features=None if layer.features is None else features,
                alpha=alpha,
                depth=depth,
                radii=radii,
                means2d=inputs[index * INPUTS],
            )
        )
    return splats


def _project(layer: Layer, camera: Camera, isa: int) -> tuple[Tensor, ...]:
    """means2d, conics (with effective opacities), colours, depths, radii and tile boxes of a layer's Gaussians."""
    given = layer.gaussians
    sh = given.means.new_empty((0, 1, 3)) if given.sh is None else given.sh
    tensors = [tensor.contiguous() for tensor in (given.means, given.scales, given.quats, given.opacities, sh)]
    means2d, conics, colours, depths, radii, tiles = _Project.apply(_view(camera, layer.settings), isa, *tensors)
    if given.colours is not None:
        colours = given.colours.contiguous()
    return means2d, conics, colours, depths, radii, tiles


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, view: Tensor, isa: int, *gaussians: Tensor) -> tuple[Tensor, ...]:
        projected = torch.ops.moegs_rasterizer.project(*gaussians, view, isa)
        radii = projected[4]
        ctx.save_for_backward(view, radii, *gaussians)
        ctx.isa = isa
        ctx.mark_non_differentiable(*projected[3:])
        ctx.set_materialize_grads(False)
        return projected

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        view, radii, *gaussians = ctx.saved_tensors
        given = [_present(gradient, radii) for gradient in gradients[:3]]
        found = torch.ops.moegs_rasterizer.project_backward(*gaussians, view, radii, *given, ctx.isa)
        needed = ctx.needs_input_grad[2:]
        return None, None, *(gradient if wanted else None for gradient, wanted in zip(found, needed, strict=True))


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, options: Tensor, size: _Size, *inputs: Tensor) -> tuple[Tensor, ...]:
        save = any(ctx.needs_input_grad)
        results = torch.ops.moegs_rasterizer.blend(inputs, options, size.width, size.height, save, size.isa)
        images = [image for first in _starts(results, OUTPUTS + SAVED) for image in results[first : first + OUTPUTS]]
        if save:
            ctx.save_for_backward(*inputs, *results)
            ctx.size, ctx.count = size, len(inputs)
        ctx.mark_non_differentiable(*images[3::OUTPUTS])
        ctx.set_materialize_grads(False)
        return tuple(images)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        size, tensors = ctx.size, ctx.saved_tensors
        inputs, results = tensors[: ctx.count], tensors[ctx.count :]
        given = [_present(gradient, inputs[0]) for gradient in gradients]
        found = torch.ops.moegs_rasterizer.blend_backward(
            inputs, results, given, size.width, size.height, size.linear, size.isa
        )
        needed = ctx.needs_input_grad[2:]
        answer: list[Tensor | None] = []
        for layer, first in enumerate(_starts(inputs, INPUTS)):
            means2d, conics, colours, features = found[layer * GRADIENTS : (layer + 1) * GRADIENTS]
            background = None
            if needed[first + INPUTS - 1]:
                alpha = results[layer * (OUTPUTS + SAVED) + 2]
                background = _background_gradient(
                    gradients[layer * OUTPUTS : layer * OUTPUTS + 2], inputs[first + 4 : first + 6], alpha
                )
            row = [means2d, conics, None, None, colours, features, background]
            answer += [gradient if needed[first + place] else None for place, gradient in enumerate(row)]
        return None, None, *answer


def _background_gradient(gradients: tuple[Tensor | None, ...], values: tuple[Tensor, ...], alpha: Tensor) -> Tensor:
    """Gradient [k + c] of a background: sum over pixels of the image's gradient times the remaining transmittance."""
    left = (1 - alpha).flatten()
    parts = [
        value.new_zeros(value.shape[1]) if gradient is None else gradient.flatten(1) @ left
        for gradient, value in zip(gradients, values, strict=True)
    ]
    return torch.cat(parts)


def _present(gradient: Tensor | None, like: Tensor) -> Tensor:
    """The gradient as the operators take it: contiguous, empty where there is none."""
    if gradient is None:
        return torch.empty(0, device=like.device)
    return gradient.contiguous()


def _starts(tensors: Any, step: int) -> range:
    return range(0, len(tensors), step)


def _view(camera: Camera, settings: RasterSettings) -> Tensor:
    """The doubles of `View` in csrc/layout.h."""
    matrix = camera.world_to_camera.detach().double()
    centre = torch.linalg.inv(matrix)[:3, 3]
    numbers = [
        *matrix[:3, :3].flatten().tolist(),
        *matrix[:3, 3].tolist(),
        *centre.tolist(),
        camera.fx,
        camera.fy,
        camera.cx,
        camera.cy,
        camera.width,
        camera.height,
        settings.low_pass,
        settings.near,
        math.inf if settings.far is None else settings.far,
        math.inf if settings.ndc_limit is None else settings.ndc_limit,
        settings.compensate,
        settings.tile_rule == "inria",
    ]
    return torch.tensor(numbers, dtype=torch.float64)


def _blend_options(settings: RasterSettings) -> tuple[float, float]:
    return DEPTH_KINDS.index(settings.depth), settings.far or 0.0


def _isa() -> int:
    wanted = os.environ.get("MOEGS_RASTERIZER_ISA")
    if wanted is None:
        return _best_isa()
    if wanted not in ISAS:
        raise RasterizerError(f"MOEGS_RASTERIZER_ISA is {wanted!r}, expected one of {', '.join(ISAS)}")
    isa = ISAS.index(wanted)
    if not torch.ops.moegs_rasterizer.supports(isa):
        raise RasterizerError(
            f"MOEGS_RASTERIZER_ISA is {wanted!r}, which this processor lacks; unset it, or take {ISAS[_best_isa()]!r}"
        )
    return isa


def available_isas() -> tuple[str, ...]:
    """Instruction sets that the library was compiled for and this processor has."""
    _require()
    return tuple(name for index, name in enumerate(ISAS) if torch.ops.moegs_rasterizer.supports(index))


@functools.cache
def _best_isa() -> int:
    return ISAS.index(available_isas()[-1])


@functools.cache
def _load() -> str | None:
    """Build where needed and load the library, once; the reason where that fails, so that it is not tried again."""
    try:
        path = build.library().path
        torch.ops.load_library(str(path))
    except RasterizerError as error:
        return str(error)
    except OSError as error:
        return f"cannot load {path}: {error}; delete it to have it built again"
    return None


def _require() -> None:
    reason = unavailable_reason()
    if reason is not None:
        raise RasterizerError(f'backend="cpu" cannot run here: {reason}')
