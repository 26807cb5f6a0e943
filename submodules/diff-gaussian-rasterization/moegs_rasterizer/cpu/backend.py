"""Rasterizes by the C++ operators, in two stages with derivatives: project, then blend."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..faults import telling
from ..gradients import Needed, background_gradient, present
from ..types import Camera, Grad, Layer, RasterizerError, Splat
from ..views import blend_options, view_rows
from .loading import chosen_isa

# Tensors a layer in the operators' lists: csrc/ops.h.
INPUTS, OUTPUTS, SAVED, GRADIENTS = 7, 4, 7, 4
RESULTS = OUTPUTS + SAVED
MOST_INSTANCES = 2**31 - 1  # pairs of Gaussians and tiles that a layer's list can hold
BAND_FLOATS = 8 * 2**20  # of gradients of Gaussians in tiles kept before they are summed up: bounds the memory


@functools.cache
def operators() -> SimpleNamespace:
    """The operators of the loaded library, which raise an error of one line where they fail."""
    library = torch.ops.moegs_rasterizer
    names = ("project", "project_backward", "blend", "blend_backward")
    return SimpleNamespace(**{name: telling(library, getattr(library, name)) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """Arguments of a blending call that are no tensors."""

    width: int
    height: int
    isa: int


def rasterize_layers(layers: list[Layer], camera: Camera, grad: Grad) -> list[Splat]:
    """Rasterize validated float32 layers; `grad` is not looked at, gradients go to what requires one.

    Raises RasterizerError where the library cannot be built or loaded.
    """
    size = _Size(width=camera.width, height=camera.height, isa=chosen_isa())
    inputs: list[Tensor] = []
    all_radii = []
    views = torch.tensor(view_rows(camera, [layer.settings for layer in layers]), dtype=torch.float64)
    for layer, view in zip(layers, views, strict=True):
        means2d, conics, colours, depths, radii, tiles = _project(layer, view, size.isa)
        features = layer.features
        if features is None:
            features = means2d.new_empty((len(means2d), 0))
        inputs += [means2d, conics, depths, tiles, colours, features.contiguous(), layer.background.contiguous()]
        all_radii.append(radii)
    options = [blend_options(layer.settings) for layer in layers]
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


def _project(layer: Layer, view: Tensor, isa: int) -> tuple[Tensor, ...]:
    """means2d, conics (with effective opacities), colours, depths, radii and tile boxes of a layer's Gaussians."""
    given = layer.gaussians
    sh = given.means.new_empty((0, 1, 3)) if given.sh is None else given.sh
    tensors = [tensor.contiguous() for tensor in (given.means, given.scales, given.quats, given.opacities, sh)]
    means2d, conics, colours, depths, radii, tiles = _Project.apply(view, isa, *tensors)
    if given.colours is not None:
        colours = given.colours.contiguous()
    return means2d, conics, colours, depths, radii, tiles


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, view: Tensor, isa: int, *gaussians: Tensor) -> tuple[Tensor, ...]:
        projected = tuple(operators().project(*gaussians, view, isa))
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
        given = [present(gradient) for gradient in gradients[:3]]
        computed = operators().project_backward(*gaussians, view, radii, *given, ctx.isa)
        needed = ctx.needs_input_grad[2:]
        return None, None, *(gradient if wanted else None for gradient, wanted in zip(computed, needed, strict=True))


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, options: Tensor, size: _Size, *inputs: Tensor) -> tuple[Tensor, ...]:
        save = any(ctx.needs_input_grad)
        most = MOST_INSTANCES
        results = operators().blend(inputs, options, size.width, size.height, save, most, size.isa)
        if len(results) == 1:
            raise RasterizerError(
                f"a layer's Gaussians reach {results[0].shape[1]:,} tiles of 16x16 pixels in all, {most:,} is the "
                "most; render fewer or smaller Gaussians, or a smaller image"
            )
        images: list[Tensor] = []
        constant: list[Tensor] = []
        for index in range(len(inputs) // INPUTS):
            of_layer = results[index * RESULTS : index * RESULTS + OUTPUTS]
            images += of_layer
            constant += _needed(ctx.needs_input_grad[2:][index * INPUTS : (index + 1) * INPUTS]).constant(of_layer)
        if save:
            ctx.save_for_backward(*inputs, *results)
            ctx.size, ctx.count = size, len(inputs)
        ctx.mark_non_differentiable(*constant)
        ctx.set_materialize_grads(False)
        return tuple(images)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors, needed, size = ctx.saved_tensors, ctx.needs_input_grad[2:], ctx.size
        layers = [
            _LayerBackward(
                inputs=tensors[index * INPUTS : (index + 1) * INPUTS],
                results=tensors[ctx.count + index * RESULTS : ctx.count + (index + 1) * RESULTS],
                given=gradients[index * OUTPUTS : (index + 1) * OUTPUTS],
                needed=_needed(needed[index * INPUTS : (index + 1) * INPUTS]),
            )
            for index in range(ctx.count // INPUTS)
        ]
        computed = _backward_of([layer for layer in layers if layer.asked], size)
        return None, None, *(gradient for layer in layers for gradient in layer.gradients(computed))


def _backward_of(layers: list[_LayerBackward], size: _Size) -> Iterator[Tensor]:
    """Gradients that the operator computes for these layers, GRADIENTS tensors each."""
    if not layers:
        return iter(())
    tensors = operators().blend_backward(
        [tensor for layer in layers for tensor in layer.inputs],
        [tensor for layer in layers for tensor in layer.results],
        [present(gradient) for layer in layers for gradient in layer.given],
        size.width,
        size.height,
        all(layer.needed.linear for layer in layers),
        BAND_FLOATS,
        size.isa,
    )
    return iter(tensors)


def _needed(inputs: tuple[bool, ...]) -> Needed:
    means2d, conics, _, _, colours, features, background = inputs
    return Needed(means2d=means2d, conics=conics, colours=colours, features=features, background=background)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerBackward:
    """One layer's tensors in the backward pass of `_Blend`, in the orders of csrc/ops.h."""

    inputs: tuple[Tensor, ...]
    results: tuple[Tensor, ...]
    given: tuple[Tensor | None, ...]
    needed: Needed

    @property
    def asked(self) -> bool:
        return self.needed.any and any(gradient is not None for gradient in self.given)

    def gradients(self, computed: Iterator[Tensor]) -> list[Tensor | None]:
        """Gradients of the inputs; takes GRADIENTS tensors from `computed` where the layer asked for any."""
        if not self.asked:
            return [None] * INPUTS
        means2d, conics, colours, features = islice(computed, GRADIENTS)
        wanted = self.needed
        return [
            means2d if wanted.means2d else None,
            conics if wanted.conics else None,
            None,
            None,
            colours if wanted.colours else None,
            features if wanted.features else None,
            background_gradient(self.results[OUTPUTS], self.results[:2], self.given[:2]) if wanted.background else None,
        ]
