"""Pruning in rounds: score, remove, train."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from common.text.wording import counted
from engine.compression.pruned import PruneScope, kept_masks, without
from engine.compression.scores import run_scores
from engine.compression.tuning import Tuning, tuned
from engine.runs.run import Run
from engine.settings.training.run import RunConfig
from engine.training.router.judge import judged, with_judgement
from router.pruning import ScoreKind

logger = logging.getLogger(__name__)

Goal = Callable[[Run, Sequence[Tensor]], float]  # (run so far, its scores) -> the share of its Gaussians to remove


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Settings of a pruning, all but how much."""

    score: ScoreKind
    scope: PruneScope
    score_frames: int
    rounds: int  # each removes the same share of what is left
    tuning: Tuning  # iterations: of all rounds together


def ratio_goal(run: Run, ratio: float) -> Goal:
    """The goal of removing a share of the Gaussians that a run has now."""
    count = _count(run)
    return lambda later, _scores: max(0.0, 1 - (1 - ratio) * count / _count(later))


def prune_in_rounds(
    run: Run, goal: Goal, pruning: Pruning, config: RunConfig, *, scores: Sequence[Tensor] | None = None, quiet: bool
) -> Run | None:
    """A copy of a run that has reached a goal; None where a signal interrupted its training.

    Gaussians that stand in for each other are removed one after the other: scores of a round know who went before. The
    last round meets the goal by its own scores. config: the settings the run was trained with. scores: of the run,
    where they are known. The judge of a scene that has one judges what is left.
    """
    rounds, count = pruning.rounds, _count(run)
    scores = scores or _scores(run, pruning, quiet=quiet)
    share = goal(run, scores)
    if share == 0:
        logger.warning("the run meets the goal as it is: no Gaussian is removed")
        rounds = 1
    for number in range(1, rounds + 1):
        if number > 1:
            scores = _scores(run, pruning, quiet=quiet)
        removed = goal(run, scores) if number == rounds > 1 else 1 - (1 - share) ** (1 / rounds)
        run = without(run, kept_masks(run, scores, removed, pruning.scope))
        left = (f"{_count(run):,}", counted(count, "Gaussian"))
        logger.info("pruning, round %d of %d: %s of %s are left", number, rounds, *left)
        iterations = _part(pruning.tuning.iterations, number, rounds)
        if iterations:
            tuning = replace(pruning.tuning, iterations=iterations, falls=number == rounds)
            after = tuned(run, config, tuning, quiet=quiet)
            if after is None:
                return None
            run = after
    return run if pruning.tuning.iterations else with_judgement(run, judged(run))


def _scores(run: Run, pruning: Pruning, *, quiet: bool) -> list[Tensor]:
    return run_scores(run, pruning.score, frames=pruning.score_frames, progress=not quiet)


def _count(run: Run) -> int:
    return sum(expert.num_gaussians for expert in run.experts)


def _part(total: int, number: int, parts: int) -> int:
    """The size of a part, counted from 1, of a total split evenly."""
    return total * number // parts - total * (number - 1) // parts
