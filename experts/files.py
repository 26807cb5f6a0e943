"""Files and folders of a checkpoint: missing ones named with what is there instead, none left half written."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from .base import CheckpointError


def nearest(name: str, choices: list[str]) -> str:
    """A clause naming the closest choice, or the first few: ' (nearest: point_cloud)', ' (found: a, b)', ' (empty)'."""
    if not choices:
        return " (nothing there)"
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if close:
        return f" (nearest: {close[0]})"
    shown = ", ".join(sorted(choices)[:5])
    return f" (found: {shown}{', ...' if len(choices) > 5 else ''})"


def require_path(path: Path, what: str) -> Path:
    """The path itself if it exists, else a CheckpointError naming the deepest existing folder and its nearest entry."""
    if path.exists():
        return path
    missing, parent = path, path.parent
    while not parent.exists() and parent != parent.parent:
        missing, parent = parent, parent.parent
    entries = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    raise CheckpointError(f"{path}: no such {what}; {parent} has no {missing.name}{nearest(missing.name, entries)}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` at the end, removed if the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
