"""The CUDA kernels thread by thread on the CPU, for machines without a GPU: the files in headers/ play the GPU."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, Splat
from moegs_rasterizer.compile.steps import (
    SOURCES,
    STABLE_ABI,
    BuildError,
    BuildPlan,
    CompilerCall,
    cache_root,
    find_compiler,
    fingerprint,
    make_library,
    torch_include,
    torch_libraries,
)
from moegs_rasterizer.cuda import backend, passes
from moegs_rasterizer.cuda.reports import MOST_CAPTURES, ROWS, Mailbox
from moegs_rasterizer.cuda.words import MOST_LAYERS, NOT_FINITE, VIEW, WORDS

HEADERS = Path(__file__).parent / "headers"
FLAGS = (
    *("-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-DMOEGS_ISA=cuda", f"-I{HEADERS}", STABLE_ABI),
    "-U_FORTIFY_SOURCE",  # which takes a jump to another fiber's stack for an error
)
# Of the compiler's checks: addresses that are not aligned as the type asks, which a GPU refuses.
CHECKS = ("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")
WRAPPED = ("-Wl,--wrap=aoti_torch_empty_strided",)  # which headers/failing.cpp lets fail


@functools.cache
def mailbox() -> Mailbox:
    """Load the kernels and let the back-end call them instead of a GPU's; skips the test without a compiler."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, which runs the kernels itself")
    try:
        find_compiler()
    except BuildError as error:
        pytest.skip(f"the kernels cannot be compiled for the CPU here: {error}")
    torch.ops.load_library(str(library()))
    # Kernels have ended when their launch returns: nothing is ever waited for.
    views = torch.zeros(MOST_CAPTURES, MOST_LAYERS, VIEW, dtype=torch.float64)
    gradients = torch.zeros(len(NOT_FINITE), dtype=torch.int64)
    reports = Mailbox(words=torch.zeros(ROWS, WORDS, dtype=torch.int64), views=views, gradients=gradients)
    passes.mailbox = lambda device: reports
    passes.captured = lambda: False
    passes.stream_of = lambda device: SimpleNamespace(cuda_stream=0)
    return reports


@functools.cache
def library() -> Path:
    """The compiled library."""
    return make_library(_plan(), _target()).path


@contextmanager
def failing_after(calls: int) -> Iterator[None]:
    """Let so many calls of CUDA and allocations succeed, and all others fail."""
    left = ctypes.c_int.in_dll(ctypes.CDLL(str(library())), "calls_until_failure")
    left.value = calls
    try:
        yield
    finally:
        left.value = -1


def rasterize(
    layers: Sequence[Layer],
    camera: Camera,
    *,
    grad: str = "none",
    deterministic: bool = False,
    half: bool = False,
    **_: str,
) -> list[Splat]:
    """`rasterize` as the CUDA back-end does it, of tensors on the CPU."""
    mailbox()
    layers = list(layers)
    return backend.rasterize_layers(layers, camera, grad, deterministic, half=half) if layers else []


def check() -> None:
    """Raises what `moegs_rasterizer.cuda.check` would."""
    mailbox().read()


def _files() -> list[Path]:
    return sorted(path for folder in (SOURCES / "cuda", HEADERS) for path in folder.rglob("*") if path.is_file())


def _target() -> Path:
    compiler = find_compiler()
    files = [*sorted(SOURCES.glob("*.h")), *_files()]
    return cache_root() / f"kernels-on-cpu-{fingerprint(files, (*compiler, *FLAGS, *CHECKS, *WRAPPED))}" / "kernels.so"


def _plan() -> BuildPlan:
    compiler = find_compiler()
    calls = [
        CompilerCall(
            command=(*compiler, *FLAGS, *CHECKS, torch_include(), "-x", "c++", "-c", str(source)),
            output=source.name + ".o",
        )
        for source in _files()
        if source.suffix in (".cu", ".cpp")
    ]
    return BuildPlan(
        name="CUDA kernels on the CPU",
        announcement="compiling the CUDA kernels for the CPU",
        calls=tuple(calls),
        linker=(*compiler, "-shared", *WRAPPED),
        libraries=torch_libraries(),
        lock_seconds=300.0,
        advice="or choose another compiler with CXX",
    )
