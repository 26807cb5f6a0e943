"""Ctrl-C and SIGTERM as a wish to stop at the next good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context manager: the first signal sets `requested`; a second sets `insisted` and raises KeyboardInterrupt.

    Signals reach the main thread only: entered elsewhere it changes nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self.insisted = False
        self._at_once = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it the first signal raises KeyboardInterrupt too: there is nothing to finish first."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.insisted = self.requested and not self._at_once
        self.requested = True
        if self.insisted or self._at_once:
            raise KeyboardInterrupt
