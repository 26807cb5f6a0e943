"""Ex4DGS's cloning and splitting of dynamic Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from common.maths.geometry import turned
from experts.ex4dgs.motion import KeyframeTimeline
from experts.training.gaussians.density import Rows, shrunk, twice

_LOG_WIDTH = 2.0  # of the windows of clones and children
_SPREAD = 2.0  # of children, times the parent's scales


def clone_dynamic(rows: Rows, generator: torch.Generator, timeline: KeyframeTimeline) -> Rows:
    """Copies of dynamic rows whose opacity windows lie elsewhere in the clip."""
    centres = rows["opacity_centres"]
    apart = (centres[:, 1] - centres[:, 0]).abs() / 3
    deviations = apart.clamp(min=2 / timeline.interval)[:, None]
    drawn = torch.randn(centres.shape, generator=generator).to(centres)
    return {
        **rows,
        "opacity_centres": within(centres + drawn * deviations, timeline, timeline.duration),
        "opacity_log_widths": torch.full_like(rows["opacity_log_widths"], _LOG_WIDTH),
    }


def split_dynamic(rows: Rows, generator: torch.Generator, timeline: KeyframeTimeline) -> Rows:
    """Children of dynamic rows: an offset each, turned as the parent turns, at 1 / 1.6 of its scale; other windows."""
    children = clone_dynamic({name: twice(values) for name, values in rows.items()}, generator, timeline)
    means, quats = children["means"], children["quats"]
    drawn = torch.randn((len(means), 3), generator=generator).to(means)
    offsets = (drawn * _SPREAD * children["log_scales"].exp())[:, None].expand_as(means)
    moved = turned(offsets.reshape(-1, 3), quats.reshape(-1, 4)).view_as(means)
    return shrunk({**children, "means": means + moved})


def within(centres: Tensor, timeline: KeyframeTimeline, frames: float) -> Tensor:
    """Centres of windows held between frame 1 and the last but one of so many."""
    return centres.clamp(timeline.position(1), timeline.position(frames - 1))
