"""Compiled libraries in the cache, looked at without compiling or loading one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import cpp_library, cuda_library
from .steps import cache_root, is_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Compiled libraries of one back-end that belong to these sources, and those among them that are damaged."""

    libraries: tuple[Path, ...]
    damaged: tuple[Path, ...]


def cpp_inventory() -> Inventory:
    """The C++ libraries of these sources, this PyTorch and this platform, one for each compiler."""
    return _inventory(cpp_library.cache_folder(), cpp_library.LIBRARY_NAME)


def cuda_inventory() -> Inventory:
    """The CUDA libraries of these sources; their folders are named after their CUDA version and GPUs."""
    return _inventory(cuda_library.cache_folder(), cuda_library.LIBRARY_NAME)


def stale_folders() -> tuple[Path, ...]:
    """Folders of the cache whose libraries were compiled from other sources or for another PyTorch; nothing uses them.

    Another checkout may.
    """
    names = (cpp_library.LIBRARY_NAME, cuda_library.LIBRARY_NAME)
    holding = {path.parents[1] for name in names for path in cache_root().glob(f"*/*/{name}")}
    return tuple(sorted(holding - {cpp_library.cache_folder(), cuda_library.cache_folder()}))


def _inventory(folder: Path, name: str) -> Inventory:
    found = sorted(folder.glob(f"*/{name}"))
    whole = tuple(path for path in found if is_whole(path))
    return Inventory(libraries=whole, damaged=tuple(path for path in found if path not in whole))
