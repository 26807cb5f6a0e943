"""The exactness of exports: `--quality`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.export.following.lines import Tolerance
from engine.export.pages.data import PageGrid
from experts.splats.container import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The exactness of files."""

    name: str
    tolerance: Tolerance  # of lines, and of values that stay the same for a while
    grid: Grid  # of `.4dgs`
    page: PageGrid
    least: float  # blending weight over the pixels of a training image, below which in all of them nobody sees it


QUALITIES: Mapping[str, Quality] = {
    "high": Quality(
        name="high",
        tolerance=Tolerance(place=0.1, pixels=0.15, quat=0.02, log_scale=0.03, opacity=0.02, colour=0.015),
        grid=Grid(profile="default", sh_steps=(1, 1, 2)),
        page=PageGrid(place=0.0125, quat=511, colour=512, sh_steps=(1, 1, 2), palette=None),
        least=0.05,
    ),
    "small": Quality(
        name="small",
        tolerance=Tolerance(place=0.4, pixels=0.5, quat=0.03, log_scale=0.06, opacity=0.04, colour=0.025),
        grid=Grid(profile="default", sh_steps=(2, 4, 8)),
        page=PageGrid(place=0.15, quat=127, colour=128, sh_steps=(2, 4, 8), palette=2048),
        least=0.15,
    ),
}
