"""Earlier results set aside in their own folder: `old-1`, `old-2`, …"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

_NAME = re.compile(r"old-\d+")


def is_set_aside(path: Path) -> bool:
    """Tell whether a folder holds results that `set_aside` moved there."""
    return _NAME.fullmatch(path.name) is not None


def set_aside(folder: Path, entries: Sequence[Path]) -> Path | None:
    """Move files and folders below `folder` to the same places below its first free `old-N`, and return that.

    Each entry moves by one rename. After an error every entry is where it was. None: there is no entry to move.
    """
    standing = [entry for entry in entries if os.path.lexists(entry)]
    if not standing:
        return None
    aside = next(path for number in count(1) if not os.path.lexists(path := folder / f"old-{number}"))
    made: list[Path] = []
    moved: list[tuple[Path, Path]] = []
    try:
        for entry in standing:
            target = aside / entry.relative_to(folder)
            made += _make(target.parent)
            os.rename(entry, target)
            moved.append((entry, target))
    except BaseException:
        for entry, target in reversed(moved):
            os.rename(target, entry)
        for parent in reversed(made):
            parent.rmdir()
        raise
    return aside


def _make(folder: Path) -> list[Path]:
    """Make a folder, and return those of it and its parents that are new, the highest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]
