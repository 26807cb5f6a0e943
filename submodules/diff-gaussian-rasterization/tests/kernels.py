"""The CUDA kernels thread by thread on the CPU, for machines without a GPU: kernels_on_cpu plays the GPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from moegs_rasterizer import Camera, Layer, RasterizerError, Splat, cuda, cuda_call
from moegs_rasterizer.api import _detached
from moegs_rasterizer.build_steps import (
    SOURCES,
    STABLE_ABI,
    Recipe,
    Unit,
    cache_root,
    find_compiler,
    fingerprint,
    make_library,
    torch_include,
    torch_libraries,
)
from moegs_rasterizer.cuda_reports import SLOTS, WORDS, Mailbox, Report
from moegs_rasterizer.validate import validate

HERE = Path(__file__).parent / "kernels_on_cpu"
FLAGS = ("-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-DMOEGS_ISA=cuda", f"-I{HERE}", STABLE_ABI)
# Of the compiler's checks: addresses that are not aligned as the type asks, which a GPU refuses.
CHECKS = ("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")


class Event:
    """Of a stream on which everything has ended when its launch returns."""

    def synchronize(self) -> None:
        pass


class Box(Mailbox):
    def sent(self, sequence: int, *, size: tuple[Any, ...], first_layer: int, device: torch.device) -> Report:
        event: Any = Event()
        report = Report(slot=sequence % SLOTS, sequence=sequence, size=size, first_layer=first_layer, event=event)
        self.pending.append(report)
        return report


@functools.cache
def box() -> Box:
    """Loads the kernels and takes the GPU's place; skips the test where that cannot be."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, which runs the kernels itself")
    try:
        torch.ops.load_library(str(make_library(_recipe(), _target()).path))
    except RasterizerError as error:
        pytest.skip(f"the kernels cannot be compiled for the CPU here: {error}")
    found = Box(words=torch.zeros(SLOTS + 1, WORDS, dtype=torch.int64))
    cuda_call.mailbox = lambda device: found
    cuda_call.captured = lambda: False
    cuda.stream_of = lambda device: 0
    return found


def rasterize(
    layers: Sequence[Layer], camera: Camera, *, grad: str = "none", deterministic: bool = False, **_: str
) -> list[Splat]:
    """`rasterize` as the CUDA back-end does it, of tensors on the CPU."""
    box()
    layers = list(layers)
    validate(layers, camera)
    if not layers:
        return []
    prepared = [_detached(layer, grad) for layer in layers]
    with torch.set_grad_enabled(grad != "none" and torch.is_grad_enabled()):
        return cuda.rasterize_layers(prepared, camera, grad, deterministic)


def check() -> None:
    """Raises what `moegs_rasterizer.cuda.check` would."""
    box().read()


def _files() -> list[Path]:
    return sorted(path for folder in (SOURCES / "cuda", HERE) for path in folder.rglob("*") if path.is_file())


def _target() -> Path:
    compiler = find_compiler()
    files = [*sorted(SOURCES.glob("*.h")), *_files()]
    return cache_root() / f"kernels-on-cpu-{fingerprint(files, (*compiler, *FLAGS, *CHECKS))}" / "kernels.so"


def _recipe() -> Recipe:
    compiler = find_compiler()
    units = [
        Unit(
            command=(*compiler, *FLAGS, *CHECKS, torch_include(), "-x", "c++", "-c", str(source)),
            output=source.name + ".o",
        )
        for source in _files()
        if source.suffix in (".cu", ".cpp")
    ]
    return Recipe(
        name="CUDA kernels on the CPU",
        announcement="compiling the CUDA kernels for the CPU",
        units=tuple(units),
        linker=(*compiler, "-shared"),
        libraries=torch_libraries(),
        lock_seconds=300.0,
        advice="or choose another compiler with CXX",
    )
