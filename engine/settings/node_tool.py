"""The program `splat-transform` of PlayCanvas (npm, needs node): where it is."""

from __future__ import annotations

import shutil
from pathlib import Path

TOOL = "splat-transform"
LOCAL = Path("node_modules") / ".bin" / TOOL  # where `npm install` puts it


def tool() -> str | None:
    """The path of the program, or None."""
    found = shutil.which(TOOL)
    return str(LOCAL.absolute()) if found is None and LOCAL.is_file() else found
