"""Progress of long work: a bar on a terminal, lines in a log elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import ClassVar, TypeVar

from tqdm import tqdm

from common import ranks
from common.text.wording import counted, duration

logger = logging.getLogger(__name__)

LINE_EVERY = 30.0  # seconds between lines where standard error is no terminal

Item = TypeVar("Item")


class Progress:
    """Work of a known amount, as it is done; a context manager that any thread may advance.

    On a terminal it is a bar. Elsewhere it is lines in the log: at the start, every LINE_EVERY seconds and at the end.
    Work that is part of other shown work (scoring during a training) logs neither a first nor a last line. Of several
    ranks the first one shows its own part.
    """

    _nesting: ClassVar[int] = 0  # shown work in progress

    def __init__(
        self, title: str, *, total: int, unit: str, start: int = 0, shown: bool = True, leave: bool = True
    ) -> None:
        """Prepare the display of work from `start` to `total` units (such as "frame").

        shown False: nothing is shown. leave False: the bar disappears at the end.
        """
        self._title, self._unit = title, unit
        self._start, self._done, self._total = start, start, total
        self._numbers: Mapping[str, str] = {}
        self._lock = threading.Lock()
        shown = shown and start < total and ranks.is_first()
        on_terminal = shown and sys.stderr.isatty()
        self._lines, self._leave = shown and not on_terminal, leave
        self._bar = tqdm(
            total=total, initial=start, desc=title, unit=unit, leave=leave, mininterval=0.5, disable=not on_terminal
        )
        self._begun = self._last = time.monotonic()
        self._is_part = False

    def advance(self, count: int = 1, *, numbers: Mapping[str, str] | None = None) -> None:
        """Count finished units; `numbers` (by name, with their units) replaces those that are shown."""
        with self._lock:
            self._done += count
            if numbers is not None:
                self._numbers = numbers
                self._bar.set_postfix(numbers, refresh=False)
            self._bar.update(count)
            now = time.monotonic()
            if self._lines and now - self._last >= LINE_EVERY:
                self._last = now
                logger.info("%s", self._line(now))

    def _line(self, now: float) -> str:
        left = (now - self._begun) / max(1, self._done - self._start) * (self._total - self._done)
        return f"{self._title}: {self._unit} {self._done:,} of {self._total:,}{self._said()}, {duration(left)} left"

    def _said(self) -> str:
        return "".join(f", {name} {value}" for name, value in self._numbers.items())

    def __enter__(self) -> Progress:
        self._is_part = Progress._nesting > 0
        Progress._nesting += self._lines
        if self._lines and not self._is_part:
            logger.info("%s: %s", self._title, counted(self._total - self._start, self._unit))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
        Progress._nesting -= self._lines
        if kind is None and self._lines and not self._is_part:
            done = counted(self._done - self._start, self._unit)
            logger.info("%s: %s in %s%s", self._title, done, duration(time.monotonic() - self._begun), self._said())


def tracked(
    items: Collection[Item], title: str, *, unit: str, shown: bool = True, leave: bool = True
) -> Iterator[Item]:
    """Yield items, and show how many of them are finished."""
    with Progress(title, total=len(items), unit=unit, shown=shown, leave=leave) as progress:
        for item in items:
            yield item
            progress.advance()
