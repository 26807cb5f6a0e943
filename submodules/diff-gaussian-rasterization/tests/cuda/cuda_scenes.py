"""Passes whose tensors stay on the GPU, and comparisons of the CUDA back-end with the C++ one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from moegs_rasterizer import Camera, Layer, Splat, rasterize
from moegs_rasterizer.reference.projection import in_view, project, view_points
from moegs_rasterizer.reference.tiles import tile_boxes
from torch import Tensor

from ..backends import off, on, require
from ..random_layers import PLANES, Run, gradients_of, run, tensors_of, with_tensors

GRADIENT_TOLERANCE = 2e-5  # relative L2 of a tensor, as between any two back-ends


@dataclass(frozen=True)
class Pass:
    """A layer's outputs, its leaves and the loss's weights, all on the GPU."""

    splat: Splat
    leaves: dict[str, Tensor]
    weights: dict[str, Tensor]

    def images(self) -> dict[str, Tensor]:
        """The planes, on the CPU; waits for the GPU."""
        splat = off(self.splat)
        return {name: value.detach() for name in PLANES if (value := getattr(splat, name)) is not None}

    def backward(self) -> None:
        sum((getattr(self.splat, name) * weight).sum() for name, weight in self.weights.items()).backward()

    def gradients(self) -> dict[str, Tensor]:
        """The leaves' gradients, on the CPU; waits for the GPU."""
        return {name: leaf.grad.cpu() for name, leaf in self.leaves.items()}


def to_gpu(layer: Layer) -> Layer:
    return on(require("cuda"), layer)


def forward(layer: Layer, camera: Camera, *, grad: str = "full", **options: bool) -> Pass:
    """A layer that lies on the GPU, with leaves for what `grad` says; no waiting but what rasterize itself does."""
    tensors = {name: tensor.detach() for name, tensor in tensors_of(layer).items()}
    wanted = {"none": (), "features": ("features",), "full": tuple(tensors)}[grad]
    leaves = {name: tensors[name].clone().requires_grad_() for name in wanted}
    splat = rasterize([with_tensors(layer, {**tensors, **leaves})], camera, grad=grad, backend="cuda", **options)[0]
    parts = {"none": (), "features": ("features",), "full": ("colour", "features", "alpha")}[grad]
    values = {name: value for name in parts if (value := getattr(splat, name)) is not None}
    return Pass(splat, leaves, {name: ramp(value) for name, value in values.items()})


def ramp(like: Tensor) -> Tensor:
    """Weights between -1 and 1 that differ from pixel to pixel, made where the tensor lies."""
    steps = torch.arange(like.numel(), device=like.device, dtype=torch.float32)
    return torch.sin(0.37 * steps).reshape(like.shape)


def assert_equal_tensors(tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert tensors.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(tensors[name], value), name


def assert_images_close(splat: Splat, wanted: Splat) -> None:
    """Within rounding but for single pixels, where a Gaussian near a threshold counts here and not there."""
    for name in PLANES:
        value = getattr(wanted, name)
        if value is None or value.numel() == 0:
            continue
        error = (getattr(splat, name) - value).detach().abs()
        # The largest weight at stake is 0.0099, at the stop; depths around 6 round more coarsely.
        assert (error <= (5e-5 if name == "depth" else 1e-5)).double().mean() >= 0.999, name
        assert name == "depth" or error.max() <= 0.01 * max(1.0, float(value.detach().abs().max())), name
    assert torch.equal(splat.radii, wanted.radii)


def assert_gradients_close(other: Run, wanted: Run, index: int) -> None:
    expected = gradients_of(wanted, index)
    for name, gradient in gradients_of(other, index).items():
        assert gradient.isfinite().all(), name
        error = (gradient - expected[name]).norm()
        assert error <= GRADIENT_TOLERANCE * expected[name].norm(), f"{name}: {error / expected[name].norm():.1e}"


def assert_like_cpu(layers: Sequence[Layer], camera: Camera) -> Run:
    """Images and full gradients of the CUDA back-end are the C++ one's; returns the CUDA run."""
    on_gpu, wanted = (run(layers, camera, backend=backend) for backend in ("cuda", "cpu"))
    for index in range(len(layers)):
        assert_images_close(on_gpu.splats[index], wanted.splats[index])
        assert_gradients_close(on_gpu, wanted, index)
    return on_gpu


def instances(layer: Layer, camera: Camera) -> int:
    """Pairs of a Gaussian and a tile that its box reaches."""
    seen = in_view(view_points(layer.gaussians.means, camera), camera, layer.settings)
    tensors = tensors_of(layer)
    rows = {name: tensor if name == "background" else tensor[seen] for name, tensor in tensors.items()}
    boxes = tile_boxes(project(with_tensors(layer, rows).gaussians, camera, layer.settings), camera, layer.settings)
    return int((boxes.last - boxes.first).prod(1).sum())
