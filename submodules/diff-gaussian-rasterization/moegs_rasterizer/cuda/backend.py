"""Rasterizes by the CUDA operators: every layer of a call in one pass, and the host does not wait for the GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..types import Camera, Grad, Layer, Splat
from ..views import blend_options, view_rows
from .autograd import Blend, Project
from .passes import PLANES, PROJECTED, SHARED, CudaPass, operators, stream_of
from .reports import MOST_LAYERS


def rasterize_layers(layers: list[Layer], camera: Camera, grad: Grad, deterministic: bool) -> list[Splat]:
    """Rasterize validated float32 layers on one GPU; kernels take MOST_LAYERS layers at a time.

    Raises RasterizerError where an earlier call on this GPU was given bad values.
    """
    views = view_rows(camera, [layer.settings for layer in layers])
    device = layers[0].gaussians.means.device
    stream = stream_of(device)
    splats: list[Splat] = []
    for first in range(0, len(layers), MOST_LAYERS):
        group = layers[first : first + MOST_LAYERS]
        options = [blend_options(layer.settings) for layer in group]
        cuda_pass = CudaPass(
            views=torch.tensor(views[first : first + MOST_LAYERS], dtype=torch.float64),
            options=torch.tensor(options, dtype=torch.float64),
            width=camera.width,
            height=camera.height,
            first_layer=first,
            deterministic=deterministic,
            device=device,
            stream=stream,
        )
        splats += _rasterize_group(group, cuda_pass, grad)
    return splats


def _rasterize_group(layers: list[Layer], cuda_pass: CudaPass, grad: Grad) -> list[Splat]:
    gaussians: list[Tensor] = []
    for layer in layers:
        given = layer.gaussians
        sh = given.means.new_empty((0, 1, 3)) if given.sh is None else given.sh
        gaussians += [one.contiguous() for one in (given.means, given.scales, given.quats, given.opacities, sh)]
    projected: Sequence[Tensor]
    if grad == "full" and torch.is_grad_enabled():
        projected = Project.apply(cuda_pass, *gaussians)
    else:
        projected = operators().project(gaussians, cuda_pass.views, cuda_pass.stream)
    shared = projected[-SHARED:]
    carried: list[Tensor] = []
    for index, layer in enumerate(layers):
        means2d, conics, colours, _ = projected[PROJECTED * index : PROJECTED * (index + 1)]
        if layer.gaussians.colours is not None:
            colours = layer.gaussians.colours.contiguous()
        features = means2d.new_empty((len(means2d), 0)) if layer.features is None else layer.features.contiguous()
        carried += [means2d, conics, colours, features, layer.background.contiguous()]
    if grad != "none" and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in carried):
        images = Blend.apply(cuda_pass, shared, *carried)
    else:
        lists, _ = cuda_pass.bin(carried, shared)
        images = cuda_pass.blend(carried, shared, lists, False)
    each = len(images) // len(layers)  # with or without what only a backward pass needs
    return [_splat(layer, projected[PROJECTED * index :], images[each * index :]) for index, layer in enumerate(layers)]


def _splat(layer: Layer, projected: Sequence[Tensor], images: Sequence[Tensor]) -> Splat:
    """A layer's splat, from lists that begin with the layer's own tensors."""
    colour, features, alpha, depth = images[:PLANES]
    means2d, _, _, radii = projected[:PROJECTED]
    return Splat(
        colour=colour,
        features=None if layer.features is None else features,
        alpha=alpha,
        depth=depth,
        radii=radii,
        means2d=means2d,
    )
