"""Rasterizes by the CUDA operators: every layer of a call in one pass, and the host does not wait for the GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..types import Camera, Grad, Layer, RasterizerError, RawGaussians, RawLayer, Splat
from ..validation import validate
from . import passes
from .autograd import PLANES, PROJECTED, Blend, Project
from .passes import HAS_COLOURS, IS_RAW, RESULTS, CudaPass, Given, given_of, images_of, made_of, pass_of
from .words import MOST_LAYERS

GIVEN = 8  # tensors a layer; the first COLOURS are those of its 3D Gaussians
COLOURS, FEATURES = 5, 6  # places among them; of raw Gaussians the rest of sh takes that of the colours


def rasterize_layers(
    layers: list[Layer | RawLayer], camera: Camera, grad: Grad, deterministic: bool, *, half: bool = False
) -> list[Splat]:
    """Rasterize float32 layers on one GPU; kernels take MOST_LAYERS layers at a time.

    half: blend in half precision, which only goes with grad="none".

    Nothing needs to be checked before: the operator does it in passing. Raises RasterizerError for malformed input, and
    where an earlier call on this GPU was given bad values.
    """
    if half and grad != "none":
        raise RasterizerError(
            f'backend="cuda-half" has no gradients, but grad is "{grad}"; give grad="none" or backend="cuda"'
        )
    try:
        return _rasterize(layers, camera, grad, deterministic, half)
    except Exception:
        if not passes.captured():  # reading a camera that lies on the GPU would break the graph
            validate(layers, camera)  # says what is wrong with the input, if that is it
        raise


def _rasterize(
    layers: list[Layer | RawLayer], camera: Camera, grad: Grad, deterministic: bool, half: bool
) -> list[Splat]:
    device = layers[0].gaussians.means.device
    recording = grad != "none" and torch.is_grad_enabled()
    splats: list[Splat] = []
    for first in range(0, len(layers), MOST_LAYERS):
        group = layers[first : first + MOST_LAYERS]
        cuda_pass = pass_of(camera, device, first_layer=first, deterministic=deterministic, half=half)
        with torch.no_grad():
            given = given_of(group)
        differentiable = _differentiable(group, grad) if recording else []
        if any(tensor is not None and tensor.requires_grad for tensor in differentiable):
            splats += _recorded(group, cuda_pass, given, differentiable)
        else:
            with torch.no_grad():
                results = images_of(cuda_pass, given)
            splats += [_splat(layer, *results[RESULTS * i : RESULTS * (i + 1)]) for i, layer in enumerate(group)]
    return splats


def _differentiable(layers: Sequence[Layer | RawLayer], grad: Grad) -> list[Tensor | None]:
    """GIVEN tensors a layer, None where no gradient goes."""
    found: list[Tensor | None] = []
    for layer in layers:
        if grad == "features":
            found += (*[None] * FEATURES, layer.features, None)
            continue
        given = layer.gaussians
        if isinstance(given, RawGaussians):
            found += (given.means, given.log_scales, given.quats, given.opacity_logits, given.sh_dc, given.sh_rest)
        else:
            found += (given.means, given.scales, given.quats, given.opacities, given.sh, given.colours)
        found += (layer.features, layer.background)
    return found


def _recorded(
    layers: Sequence[Layer | RawLayer], cuda_pass: CudaPass, given: Given, differentiable: Sequence[Tensor | None]
) -> list[Splat]:
    """The splats of a pass whose backward pass may follow."""
    with torch.no_grad():
        made = made_of(cuda_pass, given)
    gaussians: list[Tensor | None] = []
    for start, kind in zip(range(0, len(differentiable), GIVEN), given.kinds, strict=True):
        gaussians += differentiable[start : start + COLOURS]
        gaussians.append(differentiable[start + COLOURS] if kind & IS_RAW else None)
    projected: Sequence[Tensor | None] = [None] * (PROJECTED * len(layers))
    if any(tensor is not None and tensor.requires_grad for tensor in gaussians):
        projected = Project.apply(cuda_pass, made, *gaussians)
    carried: list[Tensor | None] = []
    for index, kind in enumerate(given.kinds):
        means2d, conics, colours = projected[PROJECTED * index : PROJECTED * (index + 1)]
        given_colours, features, background = differentiable[GIVEN * index + COLOURS : GIVEN * (index + 1)]
        carried += (
            means2d,
            conics,
            given_colours if kind & HAS_COLOURS else colours,
            features,
            background,
        )
    images = Blend.apply(cuda_pass, made, *carried)
    splats = []
    for index, layer in enumerate(layers):
        means2d, radii, _, _, _, depth = made.results[RESULTS * index : RESULTS * (index + 1)]
        recorded = projected[PROJECTED * index]
        colour, features, alpha = images[PLANES * index : PLANES * (index + 1)]
        splats.append(_splat(layer, means2d if recorded is None else recorded, radii, colour, features, alpha, depth))
    return splats


def _splat(
    layer: Layer | RawLayer,
    means2d: Tensor,
    radii: Tensor,
    colour: Tensor,
    features: Tensor,
    alpha: Tensor,
    depth: Tensor,
) -> Splat:
    return Splat(
        colour=colour,
        features=None if layer.features is None else features,
        alpha=alpha,
        depth=depth,
        radii=radii,
        means2d=means2d,
    )
