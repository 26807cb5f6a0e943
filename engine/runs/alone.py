"""One training at a time in a folder, after what killed processes left in it is swept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import ranks
from common.disk.leftovers import sweep, sweep_beside
from common.disk.locks import only_one
from common.text.wording import counted
from engine.errors import ConfigError

logger = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path, flag: str) -> Iterator[None]:
    """Keep other trainings out of a folder while the block lasts, and sweep it first.

    Raises ConfigError where another training has it. flag: what gave the folder. Of several ranks the first one does
    this for all.
    """
    if not ranks.is_first():
        yield
        return
    refusal = ConfigError(f"{folder}: another training writes here; wait for it or end it, or choose another {flag}")
    with only_one(folder, refusal):
        sweep_leftovers(folder)
        yield


def sweep_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished below a folder, and log that."""
    if swept := sweep(folder):
        logger.info("%s: removed %s that a killed process left", folder, counted(len(swept), "unfinished file"))


def sweep_leftovers_of(path: Path) -> None:
    """Remove what killed processes left beside a file or folder that they wrote, and log that."""
    if swept := sweep_beside(path):
        logger.info("%s: removed %s that a killed process left", path, counted(len(swept), "unfinished file"))
