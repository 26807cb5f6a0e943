"""A training's way from its first iteration to its last: it saves and evaluates on it, and may be interrupted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator
from contextlib import closing
from dataclasses import dataclass

from tqdm.contrib.logging import logging_redirect_tqdm

from engine.training.interruption import Interruption

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestones:
    """When a training saves and evaluates, and how."""

    start: int  # iterations done before it
    total: int
    saves: Collection[int]
    evaluations: Collection[int]
    save: Callable[[int], None]
    evaluate: Callable[[int], object]
    is_saved: Callable[[int], bool]
    is_sound: Callable[[], bool]  # whether what is reached may be saved: all of it is finite


def train_through(steps: Generator[int, None, None], milestones: Milestones) -> bool:
    """Runs a training, which yields each iteration when it is done: True at its end, False where it was interrupted.

    A signal or an error saves what was reached before it ends the run; errors are raised again.
    """
    done = milestones.start
    with logging_redirect_tqdm(), Interruption() as interruption:
        try:
            with closing(steps) as each:
                for done in each:
                    if done in milestones.saves:
                        milestones.save(done)
                    if interruption.requested:
                        raise KeyboardInterrupt
                    if done in milestones.evaluations:
                        with interruption.at_once():
                            milestones.evaluate(done)
        except BaseException as error:
            if interruption.insisted:  # it may have come in the middle of an update: not a state to save
                raise
            if done > milestones.start and not milestones.is_saved(done) and milestones.is_sound():
                milestones.save(done)
            if not isinstance(error, KeyboardInterrupt):
                raise
            logger.warning("interrupted at iteration %d of %d: continue with --resume", done, milestones.total)
            return False
    return True
