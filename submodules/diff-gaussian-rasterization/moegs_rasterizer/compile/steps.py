"""Steps that both builds take: find the compiler, lock the cache, compile, link, move the library into the cache."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch
from filelock import FileLock, Timeout

from ..types import RasterizerError

SOURCES = Path(__file__).parents[1] / "csrc"
LOG_LINES = 40
COMPILERS = ("g++", "clang++", "c++")
# Oldest PyTorch whose stable ABI a binary asks for: it then runs on every later one too.
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020A000000000000"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of a file system that has none, such as some Lustre

logger = logging.getLogger(__name__)


class BuildError(RasterizerError):
    """A back-end cannot be compiled here; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilerCall:
    """One call of a compiler, less the file that it writes."""

    command: tuple[str, ...]
    output: str  # file name of the object


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """Everything that `make_library` needs to know to make one library."""

    name: str  # for messages
    announcement: str  # logged where it is made
    calls: tuple[CompilerCall, ...]  # the slowest first
    linker: tuple[str, ...]  # command and options that come before the objects
    libraries: tuple[str, ...]  # options that come after them
    lock_seconds: float  # whoever builds for longer is stuck
    advice: str  # what else to try where a compiler fails


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A library ready to load."""

    path: Path
    seconds: float  # spent compiling; 0 where it was there already


def cache_root() -> Path:
    """$MOEGS_RASTERIZER_CACHE, or ~/.cache/moegs_rasterizer."""
    return Path(os.environ.get("MOEGS_RASTERIZER_CACHE") or Path.home() / ".cache" / "moegs_rasterizer")


def fingerprint(files: Iterable[Path], facts: Iterable[str]) -> str:
    """Short hash of the files' names and bytes and of the facts."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    for fact in facts:
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


def torch_include() -> str:
    """Compiler option for the headers of the stable ABI."""
    return f"-I{Path(torch.__file__).parent / 'include'}"


def torch_libraries() -> tuple[str, ...]:
    """Linker options. No run path: PyTorch has loaded these before anyone loads ours, and it may move."""
    return f"-L{Path(torch.__file__).parent / 'lib'}", "-ltorch_cpu"


def is_whole(library: Path) -> bool:
    """Tell whether a library is in the cache as it was written; a damaged one would end the process that loads it.

    Its SHA-256 lies beside it. One without, of an earlier version, is taken as it is; damaged ones are told to the log.
    """
    if not library.is_file():
        return False
    file = _digest_file(library)
    if not file.is_file() or file.read_text(encoding="ascii", errors="replace").strip() == _digest(library):
        return True
    logger.warning("%s is damaged: it is not used, and compiled again", library)
    return False


def digest_of(library: Path) -> str:
    """The library's SHA-256, as it was written beside it, else computed."""
    file = _digest_file(library)
    return file.read_text(encoding="ascii", errors="replace").strip() if file.is_file() else _digest(library)


def _digest_file(library: Path) -> Path:
    return library.with_name(library.name + ".sha256")


def _digest(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def make_library(plan: BuildPlan, target: Path, *, force: bool = False) -> Built:
    """Make the library unless it is there; one process at a time. `force` makes it anew. Raises BuildError."""
    if is_whole(target) and not force:
        return Built(path=target, seconds=0.0)
    start = time.perf_counter()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name("lock"), seconds=plan.lock_seconds):
            if force or not is_whole(target):
                _compile(plan, target)
    except OSError as error:
        raise BuildError(
            f"cannot write the build cache {target.parent}: {error.strerror}; set MOEGS_RASTERIZER_CACHE to a folder "
            "you can write to"
        ) from error
    return Built(path=target, seconds=time.perf_counter() - start)


@contextmanager
def _locked(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the file's lock. The system releases it when its holder dies, so none is ever stale.

    On a disk without locks nobody waits: libraries are moved into their place whole, and the last one counts.
    """
    lock = FileLock(path, timeout=seconds, fallback_to_soft=False)  # soft: a file that exists locks, for ever
    try:
        lock.acquire()
    except Timeout:
        raise BuildError(f"another process has held {path} for {seconds:.0f} s; end it and try again") from None
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def _compile(plan: BuildPlan, target: Path) -> None:
    """Compile and link into a folder of its own, then move the library to the target in one step."""
    log = target.with_name("build.log")
    logger.info(plan.announcement)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as name, log.open("w") as output:
        folder = Path(name)
        commands = [[*call.command, "-o", str(folder / call.output)] for call in plan.calls]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for finished in pool.map(_run, commands):
                _report(plan, finished, log=log, output=output)
        built = folder / target.name
        objects = [str(folder / call.output) for call in plan.calls]
        link = [*plan.linker, *objects, "-o", str(built), *plan.libraries]
        _report(plan, _run(link), log=log, output=output)
        digest = built.with_name(_digest_file(target).name)
        digest.write_text(_digest(built) + "\n", encoding="ascii")
        os.replace(built, target)
        os.replace(digest, _digest_file(target))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _report(plan: BuildPlan, finished: subprocess.CompletedProcess[str], *, log: Path, output: TextIO) -> None:
    """Write one command and what it said to the log; raise BuildError with the end of it where it failed."""
    output.write(f"$ {shlex.join(finished.args)}\n{finished.stdout}\n")
    output.flush()
    if finished.returncode == 0:
        return
    said = "\n".join(finished.stdout.splitlines()[-LOG_LINES:])
    logger.error("last lines of the compiler's output:\n%s", said)
    raise BuildError(
        f"compiling the {plan.name} failed with exit status {finished.returncode}; read {log}, or {plan.advice}"
    )
