"""The time since `auto` was started, and what is left of its budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

from engine.budget.choice import TARGET
from engine.budget.trials.measuring import TRIAL_SECONDS
from engine.budget.wanted import Budget

A_TRIAL = 2 * TRIAL_SECONDS  # seconds of an expert's, at least: it has two sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A budget, and the moment from which its time counts."""

    budget: Budget
    begun: float  # by perf_counter
    starting: float  # seconds that had gone by then

    def gone(self) -> float:
        """Seconds since the command was started."""
        return self.starting + perf_counter() - self.begun

    def left(self, kept: float = 0.0) -> Budget:
        """The budget for what is still to come. kept: seconds that other work will take."""
        seconds = self.budget.seconds
        if seconds is None:
            return self.budget
        return replace(self.budget, seconds=max(0.0, TARGET * seconds - self.gone() - kept))


def has_time(left: Budget, starting: float, trial: float = A_TRIAL) -> bool:
    """True where the time that is left holds one more trial and the start of a training, both in seconds."""
    return left.seconds is None or left.seconds >= starting + trial
