"""Finds a CUDA toolkit that can compile the CUDA back-end, and says what is missing where there is none."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .steps import BuildError, find_compiler

Version = tuple[int, int]

OLDEST: Version = (12, 0)
FIRST_TOOLKIT: dict[int, Version] = {100: (12, 8), 103: (12, 9), 120: (12, 8), 121: (12, 9)}  # others: OLDEST will do
RUNTIME = "libcudart_static.a"
HOST_COMPILERS = ("g++", "clang++")
USUAL_NVCC = Path("/usr/local/cuda/bin/nvcc")
SECONDS = 60.0  # for nvcc to answer a question


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit:
    """A CUDA compiler that was examined, with its version and its runtime."""

    nvcc: str
    version: Version
    library_folder: Path  # holds RUNTIME


def dotted(version: Version) -> str:
    """A version as people write it."""
    return f"{version[0]}.{version[1]}"


def targets(architectures: Sequence[int]) -> str:
    """GPUs as nvcc names them."""
    return ", ".join(f"sm_{architecture}" for architecture in architectures)


def driver_version() -> Version | None:
    """Newest CUDA that the GPU driver can run; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        number = ctypes.c_int(0)
        if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return number.value // 1000, number.value % 1000 // 10


def host_compiler() -> str:
    """The g++ or clang++ that nvcc calls: $CXX where it is one, else from the PATH; raises BuildError.

    nvcc takes a program without options of its own, and knows no other compilers.
    """
    problem = ""
    try:
        path, *options = find_compiler()
        if not options and "++" in Path(path).name:
            return path
        problem = f"{shlex.join([path, *options])} is none, "
    except BuildError:
        pass
    for name in HOST_COMPILERS:
        if on_path := shutil.which(name):
            return on_path
    raise BuildError(
        f"nvcc needs g++ or clang++ beside it: {problem}none is on the PATH; install one, for example with "
        "`apt install g++` or `conda install -c conda-forge cxx-compiler`"
    )


def find_toolkit(architectures: Sequence[int], *, compiler: str, newest: Version | None = None) -> Toolkit:
    """The first toolkit that can compile for all these GPUs and is not newer than `newest`, by its first number.

    Looks at $CUDA_HOME, $CUDA_PATH, the PATH, /usr/local/cuda and the packages from PyPI, in this order. Raises
    BuildError with what was found, what is needed and how to get it.
    """
    problems = []
    for nvcc in _candidates():
        try:
            return _examine(nvcc, architectures, compiler=compiler, newest=newest)
        except BuildError as error:
            problems.append(str(error))
    oldest = max(OLDEST, *(FIRST_TOOLKIT.get(architecture, OLDEST) for architecture in architectures))
    limit = f" to {newest[0]}.x, as the GPU's driver runs CUDA {dotted(newest)} at most" if newest else " or newer"
    raise BuildError(
        f"Found: {'; '.join(problems) or 'no nvcc in $CUDA_HOME, on the PATH, in /usr/local/cuda or from PyPI'}. "
        f"Needed: nvcc of CUDA {dotted(oldest)}{limit} that knows {targets(architectures)}, with its runtime and "
        "CCCL headers. Install it with "
        f"{_how_to_install(oldest, newest)} or point CUDA_HOME at it; then run "
        "`python -m moegs_rasterizer.build --cuda`"
    )


def package_folders() -> list[Path]:
    """Folders of Python packages, those from PyPI with a compiler inside among them."""
    return [Path(folder) for folder in sys.path]


def _candidates() -> Iterator[Path]:
    """Every nvcc there is, each once; also the one that a variable promises and that is not there."""
    listed = [Path(os.environ[name]) / "bin" / "nvcc" for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    others = [Path(on_path)] if (on_path := shutil.which("nvcc")) else []
    others.append(USUAL_NVCC)
    for folder in package_folders():
        others += sorted(folder.glob("nvidia/cu[0-9]*/bin/nvcc"), reverse=True)
    seen = set()
    for nvcc in [*listed, *(path for path in others if path.exists())]:
        if nvcc.resolve() not in seen:
            seen.add(nvcc.resolve())
            yield nvcc


def _examine(nvcc: Path, architectures: Sequence[int], *, compiler: str, newest: Version | None) -> Toolkit:
    """The toolkit around this nvcc; raises BuildError with one clause on why it will not do."""
    said = re.search(r"release (\d+)\.(\d+)", _ask(nvcc, "--version"))
    if said is None:
        raise BuildError(f"{nvcc}, whose version cannot be read")
    version = int(said[1]), int(said[2])
    name = f"{nvcc} of CUDA {dotted(version)}"
    if version < OLDEST:
        raise BuildError(f"{name}, which is too old")
    if newest is not None and version[0] > newest[0]:
        raise BuildError(f"{name}, which is too new for the GPU's driver")
    known = sorted(int(number) for number in re.findall(r"sm_(\d+)\b", _ask(nvcc, "--list-gpu-code")))
    for architecture in architectures:
        if architecture not in known:
            nearest = sorted(known, key=lambda one: abs(one - architecture))[:1]
            raise BuildError(f"{name}, which does not know {targets([architecture])} (nearest: {targets(nearest)})")
    # One header of CCCL read with the host compiler shows at once what would otherwise fail a minute later.
    options = ["-E", "-std=c++17", "-include", "cub/version.cuh", "-x", "cu", "-ccbin", compiler, os.devnull]
    _ask(nvcc, *options)
    return Toolkit(nvcc=str(nvcc), version=version, library_folder=_library_folder(nvcc))


def _library_folder(nvcc: Path) -> Path:
    """Folder of the static runtime: where nvcc itself would look, or `lib`, which PyPI's nvcc does not know of."""
    plan = _ask(nvcc, "--dryrun", "-x", "cu", os.devnull)
    folders = []
    for line in plan.splitlines():
        name, _, value = line.removeprefix("#$ ").partition("=")
        if name == "LIBRARIES":
            folders += [Path(option[2:]) for option in shlex.split(value) if option.startswith("-L")]
        elif name == "TOP":
            folders.append(Path(value) / "lib")
    for folder in folders:
        if (folder / RUNTIME).exists():
            return folder
    raise BuildError(f"{nvcc}, which comes without {RUNTIME}")


def _ask(nvcc: Path, *options: str) -> str:
    """Output of nvcc; raises BuildError with its first complaint where it fails."""
    try:
        done = subprocess.run(
            [str(nvcc), *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{nvcc}, which does not run: {getattr(error, 'strerror', error)}") from error
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
        complaint = next((line for line in lines if "error" in line or "fatal" in line), lines[-1])
        raise BuildError(f"{nvcc}, which fails: {complaint.strip()}")
    return done.stdout


def _how_to_install(oldest: Version, newest: Version | None) -> str:
    """Commands for CUDA 13.0, or for the newest toolkit that an older driver takes."""
    version = dotted(max(newest, oldest) if newest is not None and newest < (13, 0) else (13, 0))
    # PyPI has no nvcc before CUDA 13.
    easy = (
        '`pip install "cuda-toolkit[nvcc,cudart,cccl]==13.0.*"`'
        if version == "13.0"
        else f"`conda install -c conda-forge cuda-nvcc cuda-cudart-dev cuda-cccl cuda-version={version}`"
    )
    return f"{easy}, or `apt install cuda-toolkit-{version.replace('.', '-')}` from NVIDIA's repository,"
