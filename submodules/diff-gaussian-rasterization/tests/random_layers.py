"""Layers of random scenes, and one pass over them with the gradients it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, Splat
from moegs_rasterizer.random_scenes import random_scene
from torch import Tensor

from .backends import rendered

PLANES = ("colour", "features", "alpha", "depth")
PARTS = ("colour", "features", "alpha", "means2d")  # what a loss can use
FIELDS = ("means", "scales", "quats", "opacities", "sh", "colours")


@dataclass(frozen=True)
class Run:
    """Outputs, the leaves behind them, and the weights [index][part] of the loss; all but means2d on the CPU."""

    splats: list[Splat]
    leaves: list[dict[str, Tensor]]
    weights: list[dict[str, Tensor]]


def layer_of(
    count: int,
    width: int,
    height: int,
    *,
    seed: int = 0,
    sh_degree: int | None = None,
    colours: int = 3,
    features: int = 3,
    shift: tuple[float, float] = (0.0, 0.0),
    settings: RasterSettings | None = None,
) -> tuple[Layer, Camera]:
    gaussians, camera = random_scene(
        count=count,
        width=width,
        height=height,
        seed=seed,
        sh_degree=sh_degree,
        colour_channels=colours,
        centre_shift=shift,
    )
    draw = torch.Generator().manual_seed(seed + 1)
    layer = Layer(
        gaussians=gaussians,
        settings=settings or RasterSettings(),
        background=torch.rand(gaussians.colour_channels + features, generator=draw),
        features=torch.randn(count, features, generator=draw) if features else None,
    )
    return layer, camera


def tensors_of(layer: Layer) -> dict[str, Tensor]:
    tensors = {name: value for name in FIELDS if (value := getattr(layer.gaussians, name)) is not None}
    if layer.features is not None:
        tensors["features"] = layer.features
    return {**tensors, "background": layer.background}


def with_tensors(layer: Layer, tensors: dict[str, Tensor]) -> Layer:
    gaussians = Gaussians(**{name: tensors.get(name) for name in FIELDS})
    return replace(layer, gaussians=gaussians, features=tensors.get("features"), background=tensors["background"])


def double(layer: Layer) -> Layer:
    return with_tensors(layer, {name: tensor.double() for name, tensor in tensors_of(layer).items()})


def run(
    layers: Sequence[Layer],
    camera: Camera,
    *,
    backend: str,
    parts: Sequence[str] = PARTS[:3],
    first: int = 0,
    **options: bool,
) -> Run:
    """Full gradients of a loss that weighs every pixel of `parts` with a random number, seeded by first + layer."""
    leaves = [{name: tensor.clone().requires_grad_() for name, tensor in tensors_of(one).items()} for one in layers]
    recording = [with_tensors(layer, tensors) for layer, tensors in zip(layers, leaves, strict=True)]
    splats = rendered(recording, camera, backend, grad="full", **options)
    weights = []
    loss = torch.zeros((), dtype=torch.float64)
    for index, splat in enumerate(splats):
        splat.means2d.retain_grad()
        draw = torch.Generator().manual_seed(100 + first + index)
        weights.append({})
        for name in parts:
            value = getattr(splat, name)
            if value is not None:
                weights[index][name] = torch.rand(value.shape, generator=draw)
                loss = loss + (value * weights[index][name].to(value)).sum().cpu()
    loss.backward()
    return Run(splats, leaves, weights)


def gradients_of(one: Run, index: int) -> dict[str, Tensor]:
    """Gradients of every input of a layer, and of its means2d; zeros where autograd gave none."""
    gradients = {name: leaf.grad for name, leaf in one.leaves[index].items()}
    gradients["means2d"] = one.splats[index].means2d.grad
    like = {**one.leaves[index], "means2d": one.splats[index].means2d}
    return {
        name: (torch.zeros_like(like[name]) if gradient is None else gradient).detach().cpu()
        for name, gradient in gradients.items()
    }


def assert_same_bits(one: Run, other: Run, index: int = 0, other_index: int = 0) -> None:
    """Outputs and gradients of a layer of one run are, bit for bit, those of a layer of the other."""
    for name in (*PLANES, "radii", "means2d"):
        value = getattr(one.splats[index], name)
        if value is not None:
            assert torch.equal(value, getattr(other.splats[other_index], name)), name
    for name, gradient in gradients_of(one, index).items():
        assert torch.equal(gradient, gradients_of(other, other_index)[name]), name
