"""One command at a time that writes a folder or a file, after what killed processes left there is swept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import ranks
from common.disk.leftovers import sweep, sweep_beside
from common.disk.locks import only_one, only_writer
from common.text.wording import counted
from engine.errors import ConfigError
from engine.settings.parsing.paths import check_empty

logger = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path, flag: str) -> Iterator[None]:
    """Keep other commands from writing in a folder while the block lasts, and sweep it first.

    Raises ConfigError where another command does. flag: what gave the folder. Of several ranks the first one does
    this for all.
    """
    if not ranks.is_first():
        yield
        return
    with only_one(folder, _refusal(folder, flag)):
        sweep_leftovers(folder)
        yield


@contextmanager
def alone_at(path: Path, flag: str, *, new_folder: bool = True) -> Iterator[None]:
    """Keep other commands from writing a file or folder while the block lasts, and sweep first what killed ones left.

    Raises ConfigError where another command does. new_folder: also where something is in the folder by now, since
    another command has ended. flag: what gave the path.
    """
    with only_writer(path, _refusal(path, flag)):
        sweep_leftovers_of(path)
        if new_folder:
            check_empty(flag, path)
        yield


def _refusal(path: Path, flag: str) -> ConfigError:
    return ConfigError(f"{path}: another command writes here; wait for it or end it, or choose another {flag}")


def sweep_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished below a folder, and log that."""
    if swept := sweep(folder):
        logger.info("%s: removed %s that a killed process left", folder, counted(len(swept), "unfinished file"))


def sweep_leftovers_of(path: Path) -> None:
    """Remove what killed processes left beside a file or folder that they wrote, and log that."""
    if swept := sweep_beside(path):
        logger.info("%s: removed %s that a killed process left", path, counted(len(swept), "unfinished file"))
