"""How each of the four experts is made from tracked points on a small clip: one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..base import Expert
from .ed3dgs import ED3DGS_RATES, initial_ed3dgs
from .ex4dgs import EX4DGS_RATES, initial_ex4dgs
from .fourdgaussians import FOURDGAUSSIANS_RATES, initial_fourdgaussians
from .loop import FitOptions, Rates, TrainingViews, fit
from .points import TrackedPoints, draw, take
from .stg import STG_RATES, initial_stg


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One expert's way: points, first model, learning rates, length."""

    still: int  # points of what never moves
    moving: int  # other points
    seed: int  # differs, so that the experts do not share their points and their mistakes
    start: Callable[..., Expert]  # from TrackedPoints
    culled: bool  # start takes near and far
    rates: Rates
    iterations: int


RECIPES: dict[str, Recipe] = {
    "Ex4DGS": Recipe(
        still=5200,
        moving=2400,
        seed=1,
        start=initial_ex4dgs,
        culled=True,
        rates=EX4DGS_RATES,
        iterations=1000,
    ),
    "E-D3DGS": Recipe(
        still=5000,
        moving=2000,
        seed=2,
        start=initial_ed3dgs,
        culled=False,
        rates=ED3DGS_RATES,
        iterations=750,
    ),
    "STG": Recipe(
        still=5200,
        moving=3000,
        seed=3,
        start=initial_stg,
        culled=True,
        rates=STG_RATES,
        iterations=1200,
    ),
    "4DGaussians": Recipe(
        still=5000,
        moving=2000,
        seed=4,
        start=initial_fourdgaussians,
        culled=False,
        rates=FOURDGAUSSIANS_RATES,
        iterations=600,
    ),
}


def fit_expert(
    name: str,
    points: TrackedPoints,
    views: TrainingViews,
    *,
    near: float,
    far: float,
    iterations: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Expert:
    """A small expert of the given name from its row of RECIPES; near and far: culling planes, world units.

    iterations: instead of the recipe's. Raises KeyError for a name that is not in RECIPES.
    """
    recipe = RECIPES[name]
    start: dict[str, Any] = {"near": near, "far": far} if recipe.culled else {}
    rows = draw(points, still=recipe.still, moving=recipe.moving, seed=recipe.seed)
    expert = recipe.start(take(points, rows), **start)
    options = FitOptions(iterations=recipe.iterations if iterations is None else iterations, seed=recipe.seed)
    fit(expert, recipe.rates, views, replace(options, progress=progress))
    return expert
