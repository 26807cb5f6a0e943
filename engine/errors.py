"""The errors a user can cause; the command line shows each as one line without a traceback."""

from __future__ import annotations

import re
import sys

from moegs_rasterizer import RasterizerError

from common.disk.contained import OutsideError
from common.disk.faults import ToldError
from common.ranks import RankError
from experts.base import CheckpointError, DivergedError
from scenes.types import SceneError

_OF_GPU = re.compile(r"(CUDA|HIP) (driver )?(error: )?out of memory|_STATUS_ALLOC_FAILED")  # and of its libraries
_OF_MACHINE = re.compile(r"^out of memory|DefaultCPUAllocator: (can't allocate|not enough) memory")
_ASKED = re.compile(r"(?:[Tt]ried|Unable) to allocate ([\d.]+ \w+)")  # PyTorch's words, of both devices, and NumPy's
_ADVISED = "; end other processes"


class ConfigError(ToldError, ValueError):
    """A flag, a configuration file or a run's folder that cannot be used; one line: what, found what, do what."""


def user_errors() -> tuple[type[Exception], ...]:
    """The errors' types; PyTorch's own is among them once it is imported, before which nothing raises it."""
    own = (ConfigError, SceneError, CheckpointError, RasterizerError, DivergedError, OutsideError, RankError, OSError)
    return (*own, sys.modules["torch"].OutOfMemoryError) if "torch" in sys.modules else own


def memory_line(error: BaseException, work: str = "this") -> str | None:
    """The message in one line that a GPU, or the machine, has no memory left, and what to do; None for other errors.

    Whatever told so: PyTorch's allocators, CUDA itself, one of its libraries, or Python. A line that says already
    what to do, as the rasterizer's, is kept. work: what was done.
    """
    text = str(error)
    on_gpu = _OF_GPU.search(text) is not None
    is_short = on_gpu or _OF_MACHINE.search(text) is not None
    if not (isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_short)):
        return None
    if _ADVISED in text:
        return text
    asked = _ASKED.search(text)
    more = f"asks for {asked[1]} more" if asked else "needs more than is free"
    others = "on this GPU (nvidia-smi lists them)" if on_gpu else "on this machine"
    return (
        f"{'CUDA ' if on_gpu else ''}out of memory: {work} {more}{_ADVISED} {others}, or use smaller images or fewer "
        "Gaussians"
    )
