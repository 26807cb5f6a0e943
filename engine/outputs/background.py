"""Work that threads do beside the caller's: bounded in memory, in order, with errors that reach the caller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Background:
    """Runs tasks on `workers` threads, started in the order given; with one worker they also end in it.

    At most `waiting` tasks are unfinished at a time: `add` waits for room. The first error of a task is raised by a
    later `add` or by `finish`. Use it as a context manager: leaving it drops the tasks that have not started.
    """

    def __init__(self, name: str, *, workers: int = 1, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._waiting = waiting
        self._tasks: deque[Future[object]] = deque()

    def add(self, task: Callable[..., object], *arguments: Any) -> None:
        """Takes a task; raises what an earlier one raised."""
        while self._tasks and (self._tasks[0].done() or len(self._tasks) >= self._waiting):
            self._tasks.popleft().result()
        self._tasks.append(self._pool.submit(task, *arguments))

    def finish(self) -> None:
        """Waits until every task is done; raises the first one's error."""
        while self._tasks:
            self._tasks.popleft().result()

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
