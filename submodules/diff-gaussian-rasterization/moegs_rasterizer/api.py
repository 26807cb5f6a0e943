"""The one public call: check the input, choose a back-end, rasterize every layer."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import torch

from .types import Backend, Camera, Gaussians, Grad, Layer, RasterizerError, Splat
from .validate import choice, validate


def rasterize(
    layers: Sequence[Layer], camera: Camera, *, grad: Grad = "none", backend: Backend = "auto"
) -> list[Splat]:
    """Rasterize layers of 3D Gaussians seen by one camera, each layer with its own transmittance.

    Rasterizing several layers in one call gives the same bits as one call for each.

    grad: "none" records no gradient; "features" reaches `Layer.features` only, which is linear and cheap; "full"
    reaches means, scales, quats, opacities, sh or colours, features and background.
    backend: "auto" takes "cpu" (C++, float32) where it can run, else "torch" (readable, float32 or float64) with one
    warning; "cuda" is not part of this version.

    Raises RasterizerError where the input is malformed, holds NaN or infinite values, or the back-end cannot run here.
    """
    choice("grad", grad, get_args(Grad))
    choice("backend", backend, get_args(Backend))
    layers = list(layers) if isinstance(layers, Sequence) else layers
    validate(layers, camera)
    chosen = _choose(layers, backend)
    prepared = [_detached(layer, grad) for layer in layers]
    with torch.set_grad_enabled(grad != "none" and torch.is_grad_enabled()):
        if chosen == "cpu":
            from . import cpu

            return cpu.rasterize_layers(prepared, camera, grad)
        from . import oracle

        return oracle.rasterize_layers(prepared, camera, grad)


def _choose(layers: list[Layer], backend: Backend) -> Backend:
    on_cpu = all(layer.gaussians.means.device.type == "cpu" for layer in layers)
    if backend == "cuda" or (backend in ("auto", "cpu") and not on_cpu):
        raise RasterizerError(
            "the CUDA back-end is not part of this version; move the tensors to the CPU with .cpu() and use "
            'backend="auto", or keep them on the GPU with backend="torch" (slow)'
        )
    if backend == "torch" or not layers:
        return "torch"
    dtype = layers[0].gaussians.means.dtype
    if dtype == torch.float64:
        if backend == "cpu":
            raise RasterizerError(
                'backend="cpu" takes float32, found float64; convert with .float() or use backend="torch"'
            )
        return "torch"
    from . import cpu

    reason = cpu.unavailable_reason()
    if reason is None:
        return "cpu"
    if backend == "cpu":
        raise RasterizerError(f'backend="cpu" cannot run here: {reason}')
    _warn_slow(reason)
    return "torch"


@functools.cache
def _warn_slow(reason: str) -> None:
    warnings.warn(
        f"rasterizing with the slow PyTorch back-end, because the C++ one cannot run here: {reason}",
        RuntimeWarning,
        stacklevel=4,
    )


def _detached(layer: Layer, grad: Grad) -> Layer:
    if grad == "full":
        return layer
    # Also for "none": an autograd function sees its inputs' requires_grad even where gradients are switched off.
    given = layer.gaussians
    gaussians = Gaussians(
        means=given.means.detach(),
        scales=given.scales.detach(),
        quats=given.quats.detach(),
        opacities=given.opacities.detach(),
        sh=None if given.sh is None else given.sh.detach(),
        colours=None if given.colours is None else given.colours.detach(),
    )
    features = layer.features
    if features is not None and grad == "none":
        features = features.detach()
    return replace(layer, gaussians=gaussians, background=layer.background.detach(), features=features)
