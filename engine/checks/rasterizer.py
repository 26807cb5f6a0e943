"""The self-test of the rasterizer: a miscompiled one gives plausible images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterizerError, RasterSettings, cpu, cuda, rasterize
from moegs_rasterizer.compile.steps import digest_of
from torch import Tensor

from engine.runs.device import CPU, ComputeDevice, backend_name, gpu_versions, processor_name

TOLERANCE = 1e-4  # of colours in [0, 1], between a back-end and the oracle
_LIBRARIES = {"cpu": cpu.library, "cuda": cuda.library}  # of the back-ends that are compiled
PASSED = ".passed"  # added to a library's name: the file of the conditions under which it passed the self-test


def check_rasterizer(compute: ComputeDevice) -> None:
    """Compares a back-end with the PyTorch oracle; a compiled one only before its first use on this machine.

    Raises RasterizerError where they differ: images of a miscompiled rasterizer look plausible.
    """
    backend = backend_name(compute)
    library = _LIBRARIES[backend]() if backend in _LIBRARIES else None
    conditions = None if library is None else _conditions(library, compute)
    if library is not None and conditions in _passed(library):
        return
    for name, difference in differences_from_oracle(compute).items():
        if not difference <= TOLERANCE:
            raise RasterizerError(
                f"rasterizer back-end {compute.backend!r} differs from the PyTorch one by {difference:.2g} in the "
                f"{name} of a self-test; rebuild it (python -m moegs_rasterizer.build --force), or use --backend torch"
            )
    if library is not None:
        with suppress(OSError), _passed_file(library).open("a", encoding="ascii") as file:  # tested again next time
            file.write(f"{conditions}\n")


def differences_from_oracle(compute: ComputeDevice) -> dict[str, float]:
    """Renders five Gaussians and their feature gradient by a back-end, and by PyTorch on the CPU.

    Gives the largest difference of each result: colours, features and coverage in [0, 1].
    """
    layers, camera = _five_gaussians()
    oracle = ComputeDevice(device=CPU, backend="torch")
    computed, expected = (_probe(layers, camera, device) for device in (compute, oracle))
    return {name: (computed[name] - expected[name]).abs().max().item() for name in expected}


def _conditions(library: Path, compute: ComputeDevice) -> str:
    """A hash of the library, the processor or GPU, its driver, PyTorch, and the settings of the rasterizer."""
    device = torch.cuda.get_device_name() if compute.device.type == "cuda" else processor_name()
    own = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("MOEGS_RASTERIZER_"))
    facts = (digest_of(library), device, *gpu_versions(compute.device).values(), torch.__version__, *own)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _passed_file(library: Path) -> Path:
    return library.with_name(library.name + PASSED)


def _passed(library: Path) -> list[str]:
    """The conditions under which a library passed; none where they cannot be read."""
    try:
        return _passed_file(library).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _five_gaussians() -> tuple[list[Layer], Camera]:
    generator = torch.Generator().manual_seed(5)

    def uniform(*shape: int, low: float, high: float) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    gaussians = Gaussians(
        means=uniform(5, 3, low=-1, high=1),
        scales=uniform(5, 3, low=0.05, high=0.5),
        quats=uniform(5, 4, low=-1, high=1),
        opacities=uniform(5, low=0.3, high=0.95),
        sh=uniform(5, 16, 3, low=-0.3, high=0.3),
    )
    features, background = uniform(5, 3, low=-1, high=1), torch.ones(6)
    conventions = (RasterSettings(), RasterSettings(low_pass=0.1, compensate=True, ndc_limit=1.3, far=100.0))
    world_to_camera = torch.eye(4)
    world_to_camera[2, 3] = 4
    camera = Camera(world_to_camera=world_to_camera, fx=40.0, fy=40.0, cx=24.0, cy=16.0, width=48, height=32)
    layers = [
        Layer(gaussians=gaussians, settings=settings, background=background, features=features)
        for settings in conventions
    ]
    return layers, camera


def _probe(layers: Sequence[Layer], camera: Camera, compute: ComputeDevice) -> dict[str, Tensor]:
    layers = [_moved(layer, compute.device) for layer in layers]
    features = torch.cat([layer.features for layer in layers if layer.features is not None]).requires_grad_()
    parts = features.split(5)
    layers = [replace(layer, features=part) for layer, part in zip(layers, parts, strict=True)]
    splats = rasterize(layers, camera, grad="features", backend=compute.backend)
    carried = torch.stack([splat.features for splat in splats if splat.features is not None])
    (gradient,) = torch.autograd.grad(carried.square().mean(), features)
    results = {
        "colour": torch.stack([splat.colour for splat in splats]),
        "features": carried,
        "coverage": torch.stack([splat.alpha for splat in splats]),
        "feature gradient": gradient,
    }
    return {name: tensor.detach().to(CPU) for name, tensor in results.items()}


def _moved(layer: Layer, device: torch.device) -> Layer:
    given = layer.gaussians
    tensors = {field.name: getattr(given, field.name) for field in fields(given)}
    gaussians = Gaussians(**{name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None})
    features = None if layer.features is None else layer.features.to(device)
    return replace(layer, gaussians=gaussians, background=layer.background.to(device), features=features)
