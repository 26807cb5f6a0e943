"""The newest iteration of a folder: whether it is another one than before, as after a second training in its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import ConfigError
from engine.runs.run import Run

logger = logging.getLogger(__name__)

Stamp = tuple[tuple[Path, int], ...]


class Renewal:
    """Gives the run with what is saved newest, or the same one where nothing else was saved since the last look.

    newest: the files or folders of the newest iteration; none where nothing is saved. opened: the run with them, the
    same one where they cannot be read yet, which is tried again. Its ConfigError, as for a run of other experts, is
    logged once.
    """

    def __init__(self, newest: Callable[[], Sequence[Path]], opened: Callable[[Run], Run]) -> None:
        self._newest, self._opened = newest, opened
        self._seen = _stamp(newest())

    def __call__(self, run: Run) -> Run:
        stamp = _stamp(self._newest())
        if not stamp or stamp == self._seen:
            return run
        old = replace(run, iteration=-1)  # whatever its number, what is saved now is newer
        try:
            newer = self._opened(old)
        except ConfigError as error:
            logger.warning("%s", error)
            self._seen = stamp
            return run
        if newer is old:
            return run
        self._seen = stamp
        return newer


def _stamp(paths: Sequence[Path]) -> Stamp:
    """Paths with their times of change; none where one of them is gone."""
    try:
        return tuple((path, path.stat().st_mtime_ns) for path in paths)
    except OSError:
        return ()
