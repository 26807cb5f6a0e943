"""Loads the compiled C++ library and chooses the instruction set it runs with."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path

import torch

from ..compile import cpp_library
from ..types import RasterizerError

# In the order of Isa in csrc/kernels.h. The environment variable chooses one, for tests and benchmarks; else it is the
# last that this processor has.
ISA_VARIABLE = "MOEGS_RASTERIZER_ISA"
ISAS = ("portable", "avx2", "avx512")

_lock = threading.Lock()


def unavailable_reason() -> str | None:
    """The reason why the C++ back-end cannot run here, or None; the first call compiles the library where needed."""
    with _lock:  # two threads at once would define the operators twice
        return _load()


@functools.cache
def _load() -> str | None:
    """Build where needed and load, once; the reason where that fails, so that it is not tried again."""
    try:
        path = cpp_library.library().path
        torch.ops.load_library(str(path))
    except RasterizerError as error:
        return str(error)
    except OSError as error:
        return f"cannot load {path}: {error}; delete it to have it built again"
    return None


def library() -> Path:
    """Path of the compiled library; raises RasterizerError where the C++ back-end cannot run here."""
    reason = unavailable_reason()
    if reason is not None:
        raise RasterizerError(f'backend="cpu" cannot run here: {reason}')
    return cpp_library.library().path


def available_isas() -> tuple[str, ...]:
    """Instruction sets that the library was compiled for and this processor has; raises RasterizerError without one."""
    reason = unavailable_reason()
    if reason is not None:
        raise RasterizerError(f'backend="cpu" cannot run here: {reason}')
    return _available_isas()


@functools.cache
def _available_isas() -> tuple[str, ...]:
    return tuple(name for index, name in enumerate(ISAS) if torch.ops.moegs_rasterizer.supports(index))


def chosen_isa() -> int:
    """Index into ISAS of the one to run with; raises RasterizerError where there is none, or not the one asked for."""
    available = available_isas()
    wanted = os.environ.get(ISA_VARIABLE, available[-1])
    if wanted not in available:
        raise RasterizerError(
            f"{ISA_VARIABLE} is {wanted!r}, but this build and processor offer {', '.join(available)}; unset it"
        )
    return ISAS.index(wanted)
