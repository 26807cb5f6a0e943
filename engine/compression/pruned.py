"""A run without some of its Gaussians, chosen by a share, a size or a speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from engine.errors import ConfigError
from engine.evaluation.provenance import frames_per_second
from engine.evaluation.scoring import evenly_spread
from engine.runs.device import wait
from engine.runs.run import Run, mix_view
from experts.base import Expert
from experts.rows import HasRowModules, all_but_lowest, block_sizes, keep_rows
from router import Router

PruneScope = Literal["mixture", "expert"]
MOST = 0.99  # share of the Gaussians that can be removed
TIMED_FRAMES = 13  # the first three of them do not count
SIZE_STEPS, SPEED_STEPS = 30, 7  # of the bisection; a step of the second renders frames


def check_prunable(experts: Sequence[Expert]) -> None:
    """Raises ConfigError that names an expert whose Gaussians cannot be removed."""
    for expert in experts:
        if not isinstance(expert, HasRowModules):
            raise ConfigError(f"{expert.name} cannot be pruned: its model has no row_modules (experts/rows.py)")


def kept_masks(run: Run, scores: Sequence[Tensor], share: float, scope: PruneScope) -> list[Tensor]:
    """By expert, a mask of the rows that stay when a share of the Gaussians with the lowest scores is removed.

    scope "mixture": of all experts' Gaussians together; "expert": of each expert's own.
    """
    blocks = [block_sizes(expert) for expert in _prunable(run)]
    if scope == "expert":
        return [all_but_lowest(score, share, own) for score, own in zip(scores, blocks, strict=True)]
    kept = all_but_lowest(torch.cat(list(scores)), share, [size for own in blocks for size in own])
    return list(kept.split([len(score) for score in scores]))


def without(run: Run, masks: Sequence[Tensor]) -> Run:
    """A copy of a run with the Gaussians of each expert for which a mask is True; the original stays."""
    experts = tuple(deepcopy(expert) for expert in run.experts)
    for expert, kept in zip(experts, masks, strict=True):
        assert isinstance(expert, HasRowModules)
        keep_rows(expert, kept)
    return replace(run, experts=experts, router=router_of_rows(run, masks))


def router_of_rows(run: Run, rows: Sequence[Tensor]) -> Router:
    """A run's router with some rows of each expert: masks or indices."""
    old = run.router
    tables = [each.detach()[own] for each, own in zip(old.features.static, rows, strict=True)]
    router = Router(
        old.expert_names,
        [len(table) for table in tables],
        kind=old.head_kind,
        cues=old.cues is not None,
        temperature=old.temperature,
        eval_temperature=old.eval_temperature,
    ).to(run.device)
    router.head.load_state_dict(old.head.state_dict())
    if router.cues is not None and old.cues is not None:
        router.cues.load_state_dict(old.cues.state_dict())
    with torch.no_grad():
        for index, own in enumerate(rows):
            router.features.static[index].copy_(tables[index])
            router.features.temporal[index].copy_(old.features.temporal[index][own])
    return router.eval().requires_grad_(False)


def share_for_speed(run: Run, scores: Sequence[Tensor], wanted: float, scope: PruneScope) -> float:
    """The smallest share found whose removal gives this many frames a second here; ConfigError where none does."""

    def speed(share: float) -> float:
        return measured_speed(without(run, kept_masks(run, scores, share, scope)))

    best = speed(MOST)
    if best < wanted:
        raise ConfigError(
            f"--fps is {wanted:g}: this machine reaches {best:.1f} at most, without {MOST:.0%} of "
            "the Gaussians; give less"
        )
    return least_share(lambda share: speed(share) >= wanted, steps=SPEED_STEPS)


@torch.no_grad()
def measured_speed(run: Run) -> float:
    """Frames a second of the whole path at the held-out cameras, by the median of a few frames."""
    seconds = []
    for index, frame in enumerate(evenly_spread(run.scene.num_frames, TIMED_FRAMES)):
        view = run.scene.test[index % len(run.scene.test)]
        wait(run.compute)
        start = time.perf_counter()
        mix_view(run, view, frame)
        wait(run.compute)
        seconds.append(time.perf_counter() - start)
    return frames_per_second(seconds)


def least_share(fits: Callable[[float], bool], *, steps: int = SIZE_STEPS) -> float:
    """The least share from 0 to MOST that fits, where MOST does, by bisection."""
    if fits(0.0):
        return 0.0
    low, high = 0.0, MOST
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _prunable(run: Run) -> list[HasRowModules]:
    return [expert for expert in run.experts if isinstance(expert, HasRowModules)]
