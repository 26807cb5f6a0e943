"""Compiles the C++ library into the per-user cache, or finds there one that was compiled before."""

from __future__ import annotations

import functools
import hashlib
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from .steps import (
    SOURCES,
    STABLE_ABI,
    BuildError,
    BuildPlan,
    Built,
    CompilerCall,
    cache_root,
    find_compiler,
    fingerprint,
    is_whole,
    make_library,
    torch_include,
    torch_libraries,
)

LIBRARY_NAME = "moegs_rasterizer.so"
LOCK_SECONDS = 300.0  # a build takes seconds

COMMON_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", STABLE_ABI)
# For the kernels alone, never at link time, where such flags can change the whole process. None of them permits
# reordering: sums stay as written.
KERNEL_FLAGS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# Spelt as features, which older compilers know too; the two sets are within x86-64-v3 and x86-64-v4.
AVX2_FLAGS = ("-mavx2", "-mfma")
AVX512_FLAGS = (*AVX2_FLAGS, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512")
KERNEL_SOURCE = "kernels.cpp"
X86_MACHINES = ("x86_64", "amd64")


def cache_folder() -> Path:
    """Folder for libraries built from these sources, for this PyTorch and platform.

    $MOEGS_RASTERIZER_CACHE, or ~/.cache/moegs_rasterizer, with a folder for each hash below it.
    """
    return cache_root() / _fingerprint()


@functools.cache
def _fingerprint() -> str:
    # Files alone: the folder of CUDA sources has a library, and a hash, of its own.
    files = sorted(path for path in SOURCES.iterdir() if path.is_file())
    platforms = (torch.__version__, sys.platform, platform.machine())
    return fingerprint(files, (*platforms, *COMMON_FLAGS, *KERNEL_FLAGS, *AVX512_FLAGS))


def library(*, force: bool = False) -> Built:
    """The compiled back-end for this machine, built first where the cache lacks it; raises BuildError.

    `force` compiles it even where the cache has it.
    """
    folder = cache_folder()
    if sys.platform == "win32":
        raise BuildError('the C++ back-end builds on Linux and macOS only; use backend="torch"')
    try:
        compiler = find_compiler()
    except BuildError:
        # A library built earlier, say in the image this container started from, needs no compiler any more.
        earlier = sorted(path for path in folder.glob(f"*/{LIBRARY_NAME}") if is_whole(path))
        if earlier and not force:
            return Built(path=earlier[0], seconds=0.0)
        raise
    target = folder / _version_hash(compiler) / LIBRARY_NAME
    return make_library(_plan(compiler), target, force=force)


@functools.cache
def _version_hash(compiler: tuple[str, ...]) -> str:
    command = [*compiler, "--version"]
    try:
        version = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(
            f"the C++ compiler does not run: {shlex.join(command)}: {error}; repair it or point CXX at another"
        ) from error
    return hashlib.sha256(shlex.join([*compiler[1:], version]).encode()).hexdigest()[:16]


def _plan(compiler: tuple[str, ...]) -> BuildPlan:
    """Three variants of the kernels on x86, one elsewhere, and every other source once."""
    kernels: dict[str, tuple[str, tuple[str, ...]]] = {"portable": ("kPortableKernels", ())}
    if platform.machine().lower() in X86_MACHINES:
        kernels = {"avx512": ("kAvx512Kernels", AVX512_FLAGS), "avx2": ("kAvx2Kernels", AVX2_FLAGS), **kernels}
    calls = []
    for isa, (table, isa_flags) in kernels.items():
        flags = (*COMMON_FLAGS, *KERNEL_FLAGS, *isa_flags, f"-DMOEGS_ISA={isa}", f"-DMOEGS_TABLE={table}")
        command = (*compiler, *flags, "-c", str(SOURCES / KERNEL_SOURCE))
        calls.append(CompilerCall(command=command, output=f"kernels_{isa}.o"))
    for source in sorted(SOURCES.glob("*.cpp")):
        if source.name != KERNEL_SOURCE:
            command = (*compiler, *COMMON_FLAGS, torch_include(), "-c", str(source))
            calls.append(CompilerCall(command=command, output=source.stem + ".o"))
    shared = ("-dynamiclib", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)
    return BuildPlan(
        name="C++ back-end",
        announcement=f"compiling the C++ rasterizer with {compiler[0]} (only once, a few seconds)",
        calls=tuple(calls),
        linker=(*compiler, *shared),
        libraries=torch_libraries(),
        lock_seconds=LOCK_SECONDS,
        advice="choose another compiler with CXX",
    )
