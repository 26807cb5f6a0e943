"""Compiles the C++ back-end into a per-user cache, on first use or by `python -m moegs_rasterizer.build`."""

from __future__ import annotations

import argparse
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch

from .types import RasterizerError

SOURCES = Path(__file__).parent / "csrc"
LIBRARY_NAME = "moegs_rasterizer.so"
LOCK_SECONDS = 300.0  # a build takes seconds: whoever holds the lock longer is stuck
LOG_LINES = 40
COMPILERS = ("g++", "clang++", "c++")

# Oldest PyTorch whose stable ABI the binary asks for: it then runs on every later one too.
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020A000000000000"
COMMON_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", STABLE_ABI)
# For the kernels alone, never at link time, where such flags can change the whole process. None of them permits
# reordering: sums stay as written.
KERNEL_FLAGS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# Spelt as features, which older compilers know too; the two sets are within x86-64-v3 and x86-64-v4.
AVX2_FLAGS = ("-mavx2", "-mfma")
AVX512_FLAGS = (*AVX2_FLAGS, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512")
KERNEL_SOURCE = "kernels.cpp"
X86_MACHINES = ("x86_64", "amd64")

logger = logging.getLogger(__name__)


class BuildError(RasterizerError):
    """The C++ back-end cannot be compiled here; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One call of the compiler."""

    source: Path
    flags: tuple[str, ...]
    output: str  # file name of the object


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A library ready to load."""

    path: Path
    seconds: float  # spent compiling; 0 where it was there already


def cache_folder() -> Path:
    """Folder for libraries built from these sources, for this PyTorch and platform.

    $MOEGS_RASTERIZER_CACHE, or ~/.cache/moegs_rasterizer, with a folder for each hash below it.
    """
    root = os.environ.get("MOEGS_RASTERIZER_CACHE") or Path.home() / ".cache" / "moegs_rasterizer"
    return Path(root) / _fingerprint()


@functools.cache
def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    for fact in (torch.__version__, sys.platform, platform.machine(), *COMMON_FLAGS, *KERNEL_FLAGS, *AVX512_FLAGS):
        digest.update(fact.encode())
    return digest.hexdigest()[:16]


def find_compiler() -> tuple[str, ...]:
    """Command of the C++ compiler: $CXX if set, else the first of COMPILERS on the PATH; raises BuildError."""
    chosen = os.environ.get("CXX")
    for name, *options in [shlex.split(chosen)] if chosen else [[name] for name in COMPILERS]:
        path = shutil.which(name)
        if path is not None:
            return path, *options
    raise BuildError(
        f"no C++ compiler found (looked for {chosen or ', '.join(COMPILERS)}); install one, for example with "
        "`apt install g++` or `conda install -c conda-forge cxx-compiler`, or point CXX at it"
    )


def library() -> Built:
    """The compiled back-end for this machine, built first where the cache lacks it; raises BuildError."""
    folder = cache_folder()
    if sys.platform == "win32":
        raise BuildError('the C++ back-end builds on Linux and macOS only; use backend="torch"')
    try:
        compiler = find_compiler()
    except BuildError:
        # A library built earlier, say in the image this container started from, needs no compiler any more.
        earlier = sorted(folder.glob(f"*/{LIBRARY_NAME}"))
        if earlier:
            return Built(path=earlier[0], seconds=0.0)
        raise
    target = folder / _version_hash(compiler) / LIBRARY_NAME
    if target.exists():
        return Built(path=target, seconds=0.0)
    start = time.perf_counter()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name("lock")):
            if not target.exists():
                _compile(compiler, target)
    except OSError as error:
        raise BuildError(
            f"cannot write the build cache {target.parent}: {error.strerror}; set MOEGS_RASTERIZER_CACHE to a folder "
            "you can write to"
        ) from error
    return Built(path=target, seconds=time.perf_counter() - start)


@functools.cache
def _version_hash(compiler: tuple[str, ...]) -> str:
    asked = [*compiler, "--version"]
    try:
        version = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(
            f"the C++ compiler does not run: {shlex.join(asked)}: {error}; repair it or point CXX at another"
        ) from error
    return hashlib.sha256(shlex.join([*compiler[1:], version]).encode()).hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock. The system releases it when its holder dies, so none is ever stale."""
    import fcntl  # not on Windows, where `library` has refused by now

    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError(
                        f"another process has held {path} for {LOCK_SECONDS:.0f} s; end it and try again"
                    ) from None
                time.sleep(0.1)
        yield


def _units() -> list[Unit]:
    """Every compilation, the slowest first."""
    kernels: dict[str, tuple[str, tuple[str, ...]]] = {"portable": ("kPortableKernels", ())}
    if platform.machine().lower() in X86_MACHINES:
        kernels = {"avx512": ("kAvx512Kernels", AVX512_FLAGS), "avx2": ("kAvx2Kernels", AVX2_FLAGS), **kernels}
    units = [
        Unit(
            source=SOURCES / KERNEL_SOURCE,
            flags=(*COMMON_FLAGS, *KERNEL_FLAGS, *flags, f"-DMOEGS_ISA={isa}", f"-DMOEGS_TABLE={table}"),
            output=f"kernels_{isa}.o",
        )
        for isa, (table, flags) in kernels.items()
    ]
    include = f"-I{Path(torch.__file__).parent / 'include'}"
    for source in sorted(SOURCES.glob("*.cpp")):
        if source.name != KERNEL_SOURCE:
            units.append(Unit(source=source, flags=(*COMMON_FLAGS, include), output=source.stem + ".o"))
    return units


def _compile(compiler: tuple[str, ...], target: Path) -> None:
    """Compile and link into a folder of its own, then move the library to its place in one step."""
    log = target.with_name("build.log")
    logger.info("compiling the C++ rasterizer with %s (once, some seconds)", compiler[0])
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as name, log.open("w") as output:
        folder = Path(name)
        units = _units()
        commands = [[*compiler, *unit.flags, "-c", str(unit.source), "-o", str(folder / unit.output)] for unit in units]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for finished in pool.map(_run, commands):
                _report(finished, log=log, output=output)
        built = folder / LIBRARY_NAME
        objects = [str(folder / unit.output) for unit in units]
        _report(
            _run([*compiler, *_link_flags(), *objects, "-o", str(built), *_link_libraries()]), log=log, output=output
        )
        os.replace(built, target)


def _link_flags() -> list[str]:
    return ["-dynamiclib", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]


def _link_libraries() -> list[str]:
    # No run path: PyTorch has loaded these before anyone loads ours, and it may move.
    return [f"-L{Path(torch.__file__).parent / 'lib'}", "-ltorch_cpu"]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _report(finished: subprocess.CompletedProcess[str], *, log: Path, output: TextIO) -> None:
    """Write one command and what it said to the log; raise BuildError with the end of it where it failed."""
    output.write(f"$ {shlex.join(finished.args)}\n{finished.stdout}\n")
    output.flush()
    if finished.returncode == 0:
        return
    said = "\n".join(finished.stdout.splitlines()[-LOG_LINES:])
    logger.error("the end of what the compiler said:\n%s", said)
    raise BuildError(
        f"compiling the C++ back-end failed with exit status {finished.returncode}; read {log}, or choose another "
        "compiler with CXX"
    )


def main() -> None:
    """Build now instead of at the first use, and say in one line what there is."""
    parser = argparse.ArgumentParser(prog="python -m moegs_rasterizer.build", description=main.__doc__)
    parser.add_argument("--force", action="store_true", help="compile even where the cache holds the library")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        if arguments.force:
            shutil.rmtree(cache_folder(), ignore_errors=True)
        built = library()
    except BuildError as error:
        sys.exit(f"error: {error}")
    how = f"compiled in {built.seconds:.1f} s" if built.seconds else "already built"
    print(f"moegs_rasterizer: C++ back-end {how}: {built.path}")


if __name__ == "__main__":
    main()
