"""Budgets that no run fits: which part is too small, and how much it has to be at least."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from common.text.units import GIGABYTE, MEGABYTE
from common.text.wording import duration
from engine.budget.choice import TARGET, least_gaussians, least_seconds
from engine.budget.clock import A_TRIAL
from engine.budget.measured import ExpertTrial, SceneTrial
from engine.budget.wanted import Budget
from engine.errors import ConfigError

SPARE = 1.1  # times what was measured: the next start takes another time
LOWERED = 100_000  # pixels of the smallest image that is still one at a quarter of its width and height
ROUND_SECONDS = 10  # to which a time that is to be given is rounded up


def too_small(
    asked: str, tried: Sequence[ExpertTrial], scene: SceneTrial, left: Budget, *, gone: float, prepared: float = 0.0
) -> ConfigError:
    """The error for a budget that no expert fits: the parts that are too small, and the least that they have to be.

    asked: the budget as the user wrote it. tried: experts that had a trial. left: what the trials left of the budget.
    gone: seconds since the start. prepared: seconds of them that the same command would not need again.
    """
    causes = list(_causes(tried, scene, left, gone=gone, prepared=prepared))
    if not causes:
        causes = [f"{left} are left for its training" if tried else "the lines above say why none could be tried"]
    advice = (
        "; or give a lower resolution: --data_args='--resolution 4'"
        if any(each.pixels >= LOWERED for each in tried)
        else ""
    )
    kept = "; the preparation is kept" if prepared else ""
    return ConfigError(f"--budget {asked}: the budget is too small for any expert: {'; '.join(causes)}{advice}{kept}")


def _causes(
    tried: Sequence[ExpertTrial], scene: SceneTrial, left: Budget, *, gone: float, prepared: float
) -> Iterator[str]:
    if left.seconds is not None:
        known = [(least_seconds(each, scene, replace(left, run_bytes=None, gpu_bytes=None)), each) for each in tried]
        times = [(seconds, f"the shortest training of {each.name} takes") for seconds, each in known if seconds]
        least, what = min(times, default=(scene.command + A_TRIAL, "a trial and the start of a training take"))
        if least > left.seconds:
            before = " and ".join(["start", *(["preparation"] if prepared else []), *(["trials"] if tried else [])])
            wanted = _time_text(SPARE * (gone - prepared + least) / TARGET)
            yield f"the {before} took {duration(gone)}, and {what} {duration(least)}: give {wanted} or more"
    if left.run_bytes is not None:
        sizes = [(each.models * each.files.at(least_gaussians(each.pixels)), each.name) for each in tried]
        size, name = min(sizes, default=(0.0, ""))
        if size > left.run_bytes:
            yield f"no run is so small, one of {name} the smallest: give {_up(size / MEGABYTE)}MB or more"
    if left.gpu_bytes is not None:
        peaks = [(each.memory.at(least_gaussians(each.pixels)), each.name) for each in tried if each.memory]
        peak, name = min(peaks, default=(0.0, ""))
        if peak > left.gpu_bytes:
            yield f"no training takes so little memory, {name} the least: give {_up(peak / GIGABYTE)}GB or more"


def _time_text(seconds: float) -> str:
    """A time as --budget takes it, rounded up."""
    return (
        f"{ROUND_SECONDS * math.ceil(seconds / ROUND_SECONDS)}s" if seconds < 120 else f"{math.ceil(seconds / 60)}min"
    )


def _up(value: float) -> str:
    return f"{math.ceil(10 * value) / 10:g}"
