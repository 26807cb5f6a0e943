"""The one public call: check the input, choose a back-end, rasterize every layer."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import torch

from .activation import activated_layer
from .gradients import with_checked_gradients
from .types import Backend, Camera, Gaussians, Grad, Layer, RasterizerError, RawLayer, Splat
from .validation import check_choice, validate, validate_values

GRADS, BACKENDS = get_args(Grad), get_args(Backend)


def rasterize(
    layers: Sequence[Layer | RawLayer],
    camera: Camera,
    *,
    grad: Grad = "none",
    backend: Backend = "auto",
    deterministic: bool = False,
) -> list[Splat]:
    """Rasterize layers of 3D Gaussians seen by one camera, each layer with its own transmittance.

    A RawLayer's Gaussians are activated first: on "cuda" by the kernels, else by PyTorch.

    Rasterizing several layers in one call gives the same bits as one call for each.

    grad: "none" records no gradient; "features" reaches `Layer.features` only, which is linear and cheap; "full"
    reaches means, scales, quats, opacities, sh or colours, features and background.
    backend: "auto" takes "cuda" for tensors on a GPU and "cpu" (C++) for others, both float32, where they can run;
    else "torch" (readable, float32 or float64) with one warning. "cuda-half" is "cuda", but layers whose depth is a
    plain sum are blended in half precision, where values stop at 60,000; it has no gradients (grad="none").
    deterministic: "cuda" also adds up gradients in a fixed order, so that runs repeat to the bit; "cpu" always does.

    Raises RasterizerError where the input is malformed, holds NaN or infinite values, or the back-end cannot run here;
    the backward pass raises it where a gradient is NaN or infinite. torch.OutOfMemoryError where the GPU is full.
    On "cuda" values are looked at by the GPU, which nobody waits for: images of a layer with bad ones are NaN at once,
    and the error comes with the backward pass, the next call or `moegs_rasterizer.cuda.check()`. That of a bad gradient
    comes with the next call or `check()`.
    """
    check_choice("grad", grad, GRADS)
    check_choice("backend", backend, BACKENDS)
    layers = list(layers) if isinstance(layers, Sequence) else layers
    if backend in ("auto", "cuda", "cuda-half") and _on_gpu(layers):
        from . import cuda

        if cuda.unavailable_reason() is None:  # it checks for itself, in C++, and values on the GPU: nobody waits
            return cuda.rasterize_layers(layers, camera, grad, deterministic, half=backend == "cuda-half")
    validate(layers, camera)
    chosen = _choose(layers, backend)
    prepared = [_detached(activated_layer(layer), grad) for layer in layers]
    validate_values(prepared)
    if grad != "none" and torch.is_grad_enabled():
        prepared = [with_checked_gradients(layer, f"layer {index}") for index, layer in enumerate(prepared)]
    with torch.set_grad_enabled(grad != "none" and torch.is_grad_enabled()):
        if chosen == "cpu":
            from . import cpu

            return cpu.rasterize_layers(prepared, camera, grad)
        from . import reference

        return reference.rasterize_layers(prepared, camera, grad)


def _on_gpu(layers: object) -> bool:
    """True where the first layer has float32 means on a GPU; nothing else has been looked at yet."""
    if not isinstance(layers, list) or not layers or not isinstance(layers[0], (Layer, RawLayer)):
        return False
    means = getattr(layers[0].gaussians, "means", None)
    return isinstance(means, torch.Tensor) and means.is_cuda and means.dtype == torch.float32


def _choose(layers: list[Layer | RawLayer], backend: Backend) -> Backend:
    if backend == "torch" or not layers:
        return "torch"
    means = layers[0].gaussians.means
    own: Backend = "cuda" if means.is_cuda else "cpu"
    if backend not in ("auto", own) and not (backend == "cuda-half" and means.is_cuda):
        move = ".cpu()" if means.is_cuda else ".cuda()"
        raise RasterizerError(
            f'backend="{backend}" cannot use tensors on {means.device}; move them with {move} or use backend="auto"'
        )
    if means.dtype == torch.float64:
        if backend != "auto":
            raise RasterizerError(
                f'backend="{backend}" takes float32, found float64; convert with .float() or use backend="torch"'
            )
        return "torch"
    reason = _unavailable_reason(own)
    if reason is None:
        return own
    if backend != "auto":
        raise RasterizerError(f'backend="{backend}" cannot run here: {reason}')
    _warn_slow(own, reason)
    return "torch"


def _unavailable_reason(backend: Backend) -> str | None:
    from . import cpu, cuda

    return cuda.unavailable_reason() if backend == "cuda" else cpu.unavailable_reason()


@functools.cache
def _warn_slow(backend: Backend, reason: str) -> None:
    wanted = "CUDA" if backend == "cuda" else "C++"
    warnings.warn(
        f"the {wanted} back-end is not available, using PyTorch, about 50 times slower: {reason}",
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
