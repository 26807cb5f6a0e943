"""Back-ends to run a test on, with their devices, and a single thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, Splat, cpu, cuda, rasterize
from torch import Tensor

from .kernels_on_cpu import player

CUDA = pytest.param("cuda", marks=pytest.mark.cuda)
KERNELS = "cuda kernels on the cpu"
COMPILED = ("cpu", CUDA)
BACKENDS = ("torch", *COMPILED)
PLAYED = (*BACKENDS, KERNELS)  # for tests of images and gradients, not of the interface


def require(backend: str) -> str:
    """The back-end's name. Without C++ the test is skipped; without CUDA it fails: `-m "not cuda"` leaves it out."""
    if backend == "cpu":
        reason = cpu.unavailable_reason()
        if reason is not None:
            pytest.skip(f"the C++ back-end cannot run here: {reason}")
    if backend == KERNELS:
        player.mailbox()
    if backend == "cuda":
        reason = cuda.unavailable_reason()
        if reason is not None:
            pytest.fail(f"the CUDA back-end cannot run here: {reason}", pytrace=False)
    return backend


def on(backend: str, layer: Layer) -> Layer:
    """The layer on the back-end's device; gradients still reach the tensors it was made of."""
    device = "cuda" if backend in ("cuda", "cuda-half") else "cpu"

    def moved(value: object) -> object:
        return value.to(device) if isinstance(value, Tensor) else value

    gaussians = Gaussians(**{field.name: moved(getattr(layer.gaussians, field.name)) for field in fields(Gaussians)})
    return replace(layer, gaussians=gaussians, features=moved(layer.features), background=moved(layer.background))


def off(splat: Splat) -> Splat:
    """The splat on the CPU, all but means2d: its gradient is kept by the tensor that the rasterizer made."""
    return Splat(
        colour=splat.colour.cpu(),
        features=None if splat.features is None else splat.features.cpu(),
        alpha=splat.alpha.cpu(),
        depth=splat.depth.cpu(),
        radii=splat.radii.cpu(),
        means2d=splat.means2d,
    )


def rendered(layers: Sequence[Layer], camera: Camera, backend: str, **options: str | bool) -> list[Splat]:
    """`rasterize` on the back-end's own device, from tensors of the CPU to tensors of the CPU."""
    moved = [on(require(backend), layer) for layer in layers]
    if backend == KERNELS:
        return player.rasterize(moved, camera, **options)
    return [off(splat) for splat in rasterize(moved, camera, backend=backend, **options)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On tensors this small a second thread costs more than it computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
