"""The training loop, the same for the router and for every expert."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm

from common import ranks
from common.gradients import backward
from common.marks import BACKWARD, UPDATE, mark
from engine.training.interruption import Interruption
from engine.training.memory import memory_told
from engine.training.progress import Reading, TrainingProgress

logger = logging.getLogger(__name__)

ASK_EVERY = 5  # steps: asking makes ranks wait for one another


class TrainingTask(Protocol):
    """A training as the loop sees it: it gives losses, moves parameters by their gradients, saves and scores itself."""

    @property
    def name(self) -> str:
        """Label of its progress."""
        ...

    def losses(self, iteration: int) -> Iterator[Tensor]:
        """The loss of an iteration, in parts, each differentiated before the next is asked for."""
        ...

    def update(self, iteration: int) -> Sequence[Reading]:
        """Moves the parameters by the gradients; gives the numbers of iterations that are known by now."""
        ...

    def evaluate(self, iteration: int) -> None:
        """Scores held-out views."""
        ...

    def is_scored(self, iteration: int) -> bool:
        """True where the scores of an iteration are there."""
        ...

    def complete(self, iteration: int) -> None:
        """Writes what a kill left out of the save of an iteration."""
        ...

    def save(self, iteration: int) -> None:
        """Saves all that is needed to continue."""
        ...

    def is_saved(self, iteration: int) -> bool: ...

    def is_finite(self) -> bool:
        """True where all learned parameters are finite, so that they may be saved."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The first and last iteration, and those after which to save and to evaluate: all of them ends of steps."""

    start: int  # iterations done before
    last: int
    saves: Collection[int]
    evaluations: Collection[int]
    step: int = 1  # iterations done at once


def train(
    task: TrainingTask, schedule: Schedule, *, quiet: bool = False, each: Callable[[int], None] | None = None
) -> bool:
    """Trains to the last iteration: True at its end, False where a signal interrupted it.

    A signal or an error saves what was reached before it ends the run; errors are raised again. One in the middle of an
    update leaves nothing whole to save: then the last save stands. What a kill cut off of the last save, or of the
    scoring after it, is made up for first. each: called after every iteration, for whoever looks on. Several ranks stop
    after the same step at the wish of one of them; where one fails, the last save stands.
    """
    done, is_whole = schedule.start, True
    loss: Tensor | None
    if done >= schedule.last:
        logger.info("%s: already trained to iteration %d of %d, nothing to do", task.name, done, schedule.last)
    progress = TrainingProgress(task.name, total=schedule.last, start=done, quiet=quiet)
    with logging_redirect_tqdm(), Interruption() as interruption, progress:
        try:
            with task:
                if 0 < done <= schedule.last:
                    _make_up(task, done, schedule, interruption)
                for iteration in range(schedule.start + schedule.step, schedule.last + 1, schedule.step):
                    with memory_told(f"iteration {iteration} of {task.name}"):
                        for loss in task.losses(iteration):
                            with mark(BACKWARD):
                                backward(loss)
                        is_whole = False
                        with mark(UPDATE):
                            progress.finish_step(task.update(iteration), iterations=schedule.step)
                    done, is_whole = iteration, True
                    if each is not None:
                        each(iteration)
                    _save_and_score(task, iteration, schedule, interruption)
        except BaseException as error:
            loss = None  # what it was computed from would take the memory that a save needs
            if interruption.insisted or not is_whole:  # the first, too, may have come in the middle of an update
                raise
            if done > schedule.start and (ranks.count() == 1 or isinstance(error, KeyboardInterrupt)):
                _save_reached(task, done)
            if not isinstance(error, KeyboardInterrupt):
                raise
            logger.warning("interrupted at iteration %d of %d: continue with --resume", done, schedule.last)
            return False
    return True


def _save_and_score(task: TrainingTask, iteration: int, schedule: Schedule, interruption: Interruption) -> None:
    """Saves and scores after an iteration where the schedule says so.

    Raises KeyboardInterrupt where a signal wished to stop: before the scoring, which `_make_up` does later.
    """
    if iteration in schedule.saves:
        task.save(iteration)
    if _is_wanted_to_stop(interruption, (iteration - schedule.start) // schedule.step):
        raise KeyboardInterrupt
    if iteration in schedule.evaluations:
        _evaluate(task, iteration, interruption)


def _save_reached(task: TrainingTask, done: int) -> None:
    """Saves the last iteration that was done, unless it is saved, or would be of no use."""
    if not ranks.from_first(task.is_saved(done)) and task.is_finite():
        task.save(done)


def _make_up(task: TrainingTask, done: int, schedule: Schedule, interruption: Interruption) -> None:
    """Completes the save that a training continues from, and the scoring that belongs to it."""
    task.complete(done)
    if done in schedule.evaluations and not ranks.from_first(task.is_scored(done)):
        logger.info("%s: scoring iteration %d, which was cut off before", task.name, done)
        _evaluate(task, done, interruption)


def _is_wanted_to_stop(interruption: Interruption, steps: int) -> bool:
    """True where a signal wished so; ranks ask one another every ASK_EVERY steps, so that all stop after the same."""
    if ranks.count() == 1:
        return interruption.requested
    return steps % ASK_EVERY == 0 and ranks.any_of(interruption.requested)


def _evaluate(task: TrainingTask, iteration: int, interruption: Interruption) -> None:
    """Scores; an interrupt ends that at once in a process alone, else after it: ranks go on together."""
    with interruption.at_once() if ranks.count() == 1 else nullcontext():
        task.evaluate(iteration)
