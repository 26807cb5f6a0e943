"""Compiles the CUDA library into the per-user cache, or finds there one that was compiled elsewhere and carried here.

A library depends on its sources, its flags, the platform, the CUDA version and the GPUs it was compiled for. It does
not depend on Python or, thanks to the stable ABI, on PyTorch, and no compiler need be here when it runs.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
    fingerprint,
    is_whole,
    make_library,
    torch_include,
    torch_libraries,
)
from .toolkit import RUNTIME, Toolkit, Version, dotted, driver_version, find_toolkit, host_compiler, targets

LIBRARY_NAME = "moegs_rasterizer_cuda.so"
ARCHITECTURES_VARIABLE = "MOEGS_RASTERIZER_CUDA_ARCHS"
DEFAULT_ARCHITECTURES = (90,)
LOCK_SECONDS = 1200.0  # five kinds of GPU take minutes on two cores

# Without fast-math: what a kernel may approximate, it says itself. Lines let profilers and sanitizers point at sources.
KERNEL_FLAGS = ("-std=c++17", "-O3", "-lineinfo", "-DMOEGS_ISA=cuda", "-Xcompiler=-fPIC,-fvisibility=hidden")
FLAGS_VARIABLE = "MOEGS_RASTERIZER_CUDA_FLAGS"  # further ones, say to leave something out: csrc/cuda/switches.cuh
# Without contraction, a camera's numbers are those of views.py to the bit on every processor.
OPERATOR_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", STABLE_ABI)
# The runtime is static, as PyTorch's may be another version. Nothing may stay undefined: a missing kernel shows here
# instead of where there is a GPU.
LINK_FLAGS = ("-shared", "-Wl,-z,defs")
LINK_LIBRARIES = (f"-l:{RUNTIME}", "-ldl", "-lrt", "-lpthread")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A library's CUDA version and GPUs: machine code of each architecture, and PTX of the newest."""

    cuda: Version
    architectures: tuple[int, ...]  # ascending, 10 * major + minor of the compute capability

    @property
    def folder_name(self) -> str:
        """Name of the library's folder, which tells its contents without loading it."""
        return f"cuda{dotted(self.cuda)}" + "".join(f"-sm{architecture}" for architecture in self.architectures)

    def serves(self, architecture: int, driver: Version | None) -> bool:
        """True where this GPU can run it.

        Machine code runs on its own major version from its minor version on, under any driver of the same major CUDA
        version; a driver at least as new translates PTX for any later GPU (CUDA C++ Programming Guide, Compatibility).
        """
        if driver is not None and self.cuda[0] > driver[0]:
            return False
        same_major = (one for one in self.architectures if one // 10 == architecture // 10)
        if any(one <= architecture for one in same_major):
            return True
        return self.architectures[-1] <= architecture and (driver is None or self.cuda <= driver)


def cache_folder() -> Path:
    """Folder for the libraries built from these sources; carry it to a machine without a toolkit."""
    return cache_root() / f"cuda-{_fingerprint()}"


def _kernel_flags() -> tuple[str, ...]:
    return (*KERNEL_FLAGS, *shlex.split(os.environ.get(FLAGS_VARIABLE, "")))


def _fingerprint() -> str:
    files = sorted([*SOURCES.glob("*.h"), *(path for path in (SOURCES / "cuda").rglob("*") if path.is_file())])
    return fingerprint(files, (sys.platform, platform.machine(), *_kernel_flags(), *OPERATOR_FLAGS, *LINK_FLAGS))


def named_architectures(text: str | None = None) -> tuple[int, ...] | None:
    """GPUs named by the text, else by $MOEGS_RASTERIZER_CUDA_ARCHS, as 10 * major + minor; None where neither does.

    Reads compute capabilities such as "80;86;90", "8.0 8.6+PTX" or "sm_80,sm_86"; raises BuildError at anything else.
    """
    text = text if text is not None else os.environ.get(ARCHITECTURES_VARIABLE)
    if not text:
        return None
    numbers = []
    for name in re.split(r"[;,\s]+", text.strip()):
        parts = re.fullmatch(r"(?:sm_)?(\d{1,2})\.?(\d)(?:\+PTX)?", name)
        if parts is None:
            raise BuildError(
                f"{name!r} in {text!r} is no CUDA architecture; name compute capabilities, for example "
                '"80;86;89;90;120", with --cuda_archs or in ' + ARCHITECTURES_VARIABLE
            )
        numbers.append(int(parts[1] + parts[2]))
    return tuple(sorted(set(numbers)))


def visible_architectures() -> tuple[int, ...]:
    """Compute capabilities, as 10 * major + minor, of the GPUs that PyTorch sees, else of those nvidia-smi sees."""
    if torch.cuda.is_available():
        pairs = [torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())]
    else:
        asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
        try:
            said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout
        except (OSError, subprocess.SubprocessError):
            return ()
        pairs = [(int(major), int(minor)) for major, minor in re.findall(r"^(\d+)\.(\d)$", said, re.MULTILINE)]
    return tuple(sorted({10 * major + minor for major, minor in pairs}))


def library(architectures: Sequence[int] | None = None, *, force: bool = False) -> Built:
    """The compiled CUDA back-end, built first where the cache has none that will do; raises BuildError.

    For the named architectures, whatever GPUs are here; without any, for the visible GPUs, where the cached library may
    serve them in any way, and what is compiled is $MOEGS_RASTERIZER_CUDA_ARCHS, else these GPUs, else sm_90. `force`
    compiles it even where the cache has it.
    """
    if sys.platform != "linux":
        raise BuildError("the CUDA back-end builds on Linux only")
    gpus = () if architectures is not None else visible_architectures()
    driver = None if architectures is not None else driver_version()
    wanted = tuple(architectures or named_architectures() or gpus or DEFAULT_ARCHITECTURES)
    cached = _cached()
    for contents, path in [] if force else cached:
        if _will_do(contents, named=architectures, gpus=gpus or wanted, driver=driver):
            return Built(path=path, seconds=0.0)
    compiler, toolkit = _find_compilers(wanted, driver=driver, cached=[contents for contents, _ in cached])
    contents = Contents(cuda=toolkit.version, architectures=wanted)
    for gpu in gpus:
        if not contents.serves(gpu, driver):
            raise BuildError(
                f"{ARCHITECTURES_VARIABLE} names {targets(wanted)}, which the GPU here, {targets([gpu])}, cannot run; "
                f"add {gpu} or unset it"
            )
    target = cache_folder() / contents.folder_name / LIBRARY_NAME
    return make_library(_plan(toolkit, compiler, wanted), target, force=force)


def _will_do(contents: Contents, *, named: Sequence[int] | None, gpus: Sequence[int], driver: Version | None) -> bool:
    if named is not None:
        return set(named) <= set(contents.architectures)
    return all(contents.serves(gpu, driver) for gpu in gpus)


def _cached() -> list[tuple[Contents, Path]]:
    """Libraries in the cache, those for most architectures and of the newest CUDA first."""
    libraries = []
    for path in cache_folder().glob(f"*/{LIBRARY_NAME}"):
        parts = re.fullmatch(r"cuda(\d+)\.(\d+)((?:-sm\d+)+)", path.parent.name)
        if parts is not None and is_whole(path):
            architectures = tuple(int(number) for number in re.findall(r"\d+", parts[3]))
            libraries.append((Contents(cuda=(int(parts[1]), int(parts[2])), architectures=architectures), path))
    return sorted(libraries, key=lambda one: (len(one[0].architectures), one[0].cuda), reverse=True)


def _find_compilers(wanted: tuple[int, ...], *, driver: Version | None, cached: list[Contents]) -> tuple[str, Toolkit]:
    """Host compiler and toolkit; raises BuildError with all that a user needs to get a library."""
    try:
        compiler = host_compiler()
        return compiler, find_toolkit(wanted, compiler=compiler, newest=driver)
    except BuildError as error:
        names = ";".join(map(str, wanted))
        there = "; ".join(f"{targets(one.architectures)} by CUDA {dotted(one.cuda)}" for one in cached)
        raise BuildError(
            f"the CUDA back-end for {targets(wanted)} cannot be compiled here. {error}. Or compile it elsewhere with "
            f'`python -m moegs_rasterizer.build --cuda --cuda_archs "{names}"` and copy the library to '
            f"{cache_folder()}, folder and all (there is {f'one for {there}' if there else 'none yet'}; "
            "MOEGS_RASTERIZER_CACHE moves it)"
        ) from error


def _plan(toolkit: Toolkit, compiler: str, architectures: tuple[int, ...]) -> BuildPlan:
    """Kernels by nvcc, which come without PyTorch's headers; operators by the host compiler alone."""
    codes = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in architectures]
    codes.append(f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}")
    kernels = sorted((SOURCES / "cuda").glob("*.cu"), key=lambda path: (-path.stat().st_size, path.name))
    threads = max(1, (os.cpu_count() or 1) // max(1, len(kernels)))
    nvcc = (toolkit.nvcc, *_kernel_flags(), *codes, "-ccbin", compiler, f"--threads={threads}", "-c")
    calls = [CompilerCall(command=(*nvcc, str(path)), output=path.name + ".o") for path in kernels]
    for path in sorted((SOURCES / "cuda").glob("*.cpp")):
        command = (compiler, *OPERATOR_FLAGS, torch_include(), "-c", str(path))
        calls.append(CompilerCall(command=command, output=path.name + ".o"))
    return BuildPlan(
        name="CUDA back-end",
        announcement=f"compiling the CUDA rasterizer for {targets(architectures)} with {toolkit.nvcc} "
        "(only once, about a minute)",
        calls=tuple(calls),
        linker=(compiler, *LINK_FLAGS),
        libraries=(f"-L{toolkit.library_folder}", *LINK_LIBRARIES, *torch_libraries()),
        lock_seconds=LOCK_SECONDS,
        advice="choose another toolkit with CUDA_HOME or another compiler with CXX",
    )
