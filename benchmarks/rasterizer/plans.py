"""Ways to render the same layers: one call for all, a call for each, or colours and features apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import rasterize
from moegs_rasterizer.types import Backend, Camera, Gaussians, Grad, Layer, RasterSettings, Splat
from torch import Tensor

from benchmarks.rasterizer.measurement import Work
from benchmarks.trained_scenes import trained_like_scene

FEATURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterizeCall:
    """One call of the rasterizer."""

    layers: list[Layer]
    grad: Grad = "none"
    backend: Backend = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One set of inputs: layers seen by one camera, and the gradients [images, 3, h, w] that a loss would send back."""

    layers: list[Layer]
    camera: Camera
    upstream: Tensor


Plan = Callable[[list[Layer]], list[RasterizeCall]]


def trained_like_frame(
    *, count: int, layers: int, features: int, size: tuple[int, int], seed: int, device: torch.device
) -> Frame:
    """A frame of `trained_like_scene`s of `count` Gaussians each, with seeds seed, seed + 1, ..."""
    width, height = size
    scenes = [trained_like_scene(count=count, width=width, height=height, seed=seed + i) for i in range(layers)]
    draw = torch.Generator().manual_seed(seed)
    images = layers * (2 if features else 1)
    return Frame(
        layers=[
            Layer(
                gaussians=_mapped(gaussians, lambda tensor: tensor.to(device)),
                settings=RasterSettings(),
                background=torch.zeros(3 + features, device=device),
                features=torch.rand(count, features, generator=draw).to(device) if features else None,
            )
            for gaussians, _ in scenes
        ],
        camera=scenes[0][1],
        upstream=torch.randn(images, 3, height, width, generator=draw).to(device),
    )


def together(grad: Grad, backend: Backend = "auto") -> Plan:
    """All layers in one call."""
    return lambda layers: [
        RasterizeCall(layers=[recording(layer, grad) for layer in layers], grad=grad, backend=backend)
    ]


def one_by_one(grad: Grad) -> Plan:
    """A call for each layer."""
    return lambda layers: [RasterizeCall(layers=[recording(layer, grad)], grad=grad) for layer in layers]


def apart(colour: Grad, weights: Grad) -> Plan:
    """Two calls of three channels for each layer, colours then features: how MoE-GS's published code renders.

    That code hands the features over as colours, and its kernels then compute every gradient; with weights="features"
    only theirs are computed.
    """

    def plan(layers: list[Layer]) -> list[RasterizeCall]:
        calls = [RasterizeCall(layers=[recording(_colour_alone(layer), colour)], grad=colour) for layer in layers]
        given = _features_alone if weights == "features" else _features_as_colours
        return calls + [RasterizeCall(layers=[recording(given(layer), weights)], grad=weights) for layer in layers]

    return plan


def work_of(frames: Sequence[Frame], plan: Plan, *, deterministic: bool = False) -> Work:
    """A plan's forward pass, and its backward pass where a call records gradients, on each of the frames."""
    calls = [plan(frame.layers) for frame in frames]
    leaves = [list(_leaves(some)) for some in calls]

    def forward(index: int) -> list[Tensor]:
        return outputs(render(calls[index], frames[index].camera, deterministic=deterministic))

    def backward(index: int, images: list[Tensor]) -> None:
        upstream = frames[index].upstream[: len(images)].unbind(0)
        torch.autograd.grad(images, leaves[index], upstream)

    return Work(forward=forward, backward=backward if leaves[0] else None)


def render(calls: Sequence[RasterizeCall], camera: Camera, *, deterministic: bool = False) -> list[Splat]:
    """The splats of all calls, one after the other."""
    return [
        splat
        for call in calls
        for splat in rasterize(call.layers, camera, grad=call.grad, backend=call.backend, deterministic=deterministic)
    ]


def outputs(splats: Sequence[Splat]) -> list[Tensor]:
    """Images that record gradients: those that the loss of a training iteration sees."""
    images = [image for splat in splats for image in (splat.colour, splat.features) if image is not None]
    return [image for image in images if image.requires_grad and len(image)]


def recording(layer: Layer, grad: Grad) -> Layer:
    """The layer with fresh leaves that record what `grad` asks for; its background stays fixed."""
    if grad == "none":
        return layer
    features = None if layer.features is None else leaf(layer.features)
    gaussians = layer.gaussians if grad == "features" else _mapped(layer.gaussians, leaf)
    return replace(layer, gaussians=gaussians, features=features)


def _leaves(calls: Sequence[RasterizeCall]) -> Iterator[Tensor]:
    for call in calls:
        for layer in call.layers:
            given = layer.gaussians
            for tensor in (*_tensors(given).values(), layer.features):
                if tensor is not None and tensor.requires_grad:
                    yield tensor


def _colour_alone(layer: Layer) -> Layer:
    channels = layer.gaussians.colour_channels
    return replace(layer, features=None, background=layer.background[:channels])


def _features_alone(layer: Layer) -> Layer:
    assert layer.features is not None
    no_colours = layer.features.new_empty(len(layer.features), 0)
    return replace(
        layer,
        gaussians=replace(layer.gaussians, sh=None, colours=no_colours),
        background=layer.background[layer.gaussians.colour_channels :],
    )


def _features_as_colours(layer: Layer) -> Layer:
    alone = _features_alone(layer)
    return replace(alone, gaussians=replace(alone.gaussians, colours=layer.features), features=None)


def leaf(tensor: Tensor) -> Tensor:
    """A copy that records gradients."""
    return tensor.detach().clone().requires_grad_()


def _mapped(gaussians: Gaussians, change: Callable[[Tensor], Tensor]) -> Gaussians:
    return replace(gaussians, **{name: change(tensor) for name, tensor in _tensors(gaussians).items()})


def _tensors(gaussians: Gaussians) -> dict[str, Tensor]:
    given = {
        "means": gaussians.means,
        "scales": gaussians.scales,
        "quats": gaussians.quats,
        "opacities": gaussians.opacities,
        "sh": gaussians.sh,
        "colours": gaussians.colours,
    }
    return {name: tensor for name, tensor in given.items() if tensor is not None}
