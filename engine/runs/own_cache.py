"""The cache of decoded frames that a folder tells, which may come from strangers."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def own_cache(folder: Path, recorded: Path | None) -> Path | None:
    """The recorded cache of a run or an expert where it lies below its folder, else None, told to the log.

    Frames in it are replaced, and where to write is for the command line alone to choose.
    """
    if recorded is None or recorded.resolve().is_relative_to(folder.resolve()):
        return recorded
    logger.info("decoded frames: %s is used again with --cache_path, which %s alone does not choose", recorded, folder)
    return None
