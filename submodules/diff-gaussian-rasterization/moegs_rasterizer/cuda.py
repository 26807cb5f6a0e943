"""The CUDA back-end: float32 on an NVIDIA GPU, every layer of a call in one pass, no host waiting for the GPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from .cuda_call import PLANES, PROJECTED, SHARED, Call, operators, stream_of
from .cuda_gradients import Blend, Project
from .cuda_reports import MOST_LAYERS, check
from .types import Camera, Grad, Layer, RasterizerError, Splat
from .views import blend_options, view_rows

__all__ = ["check", "rasterize_layers", "unavailable_reason"]


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
    except RuntimeError as error:  # PyTorch's, where the driver answers with an error
        return f"the GPU cannot be used: {error}; see what nvidia-smi says"
    except OSError as error:
        return f"cannot load {path}: {error}; delete it to have it built again"
    return None


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
        call = Call(
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


def _rasterize_group(layers: list[Layer], call: Call, grad: Grad) -> list[Splat]:
    gaussians: list[Tensor] = []
    for layer in layers:
        given = layer.gaussians
        sh = given.means.new_empty((0, 1, 3)) if given.sh is None else given.sh
        gaussians += [one.contiguous() for one in (given.means, given.scales, given.quats, given.opacities, sh)]
    projected: Sequence[Tensor]
    if grad == "full" and torch.is_grad_enabled():
        projected = Project.apply(call, *gaussians)
    else:
        projected = operators().project(gaussians, call.views, call.stream)
    shared = projected[-SHARED:]
    carried: list[Tensor] = []
    for index, layer in enumerate(layers):
        means2d, conics, colours, _ = projected[PROJECTED * index : PROJECTED * (index + 1)]
        if layer.gaussians.colours is not None:
            colours = layer.gaussians.colours.contiguous()
        features = means2d.new_empty((len(means2d), 0)) if layer.features is None else layer.features.contiguous()
        carried += [means2d, conics, colours, features, layer.background.contiguous()]
    if grad != "none" and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in carried):
        images = Blend.apply(call, shared, *carried)
    else:
        lists, _ = call.bin(carried, shared)
        images = call.blend(carried, shared, lists, False)
    each = len(images) // len(layers)  # with or without what only a backward pass needs
    return [_splat(layer, projected[PROJECTED * index :], images[each * index :]) for index, layer in enumerate(layers)]


def _splat(layer: Layer, projected: Sequence[Tensor], images: Sequence[Tensor]) -> Splat:
    """From lists that begin with the layer's own."""
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
