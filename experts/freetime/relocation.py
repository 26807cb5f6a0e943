"""FreeTime's relocation: dead Gaussians become copies of living ones, so that their number never changes.

The idea and the transfer are those of 3DGS as MCMC (Kheradmand et al. 2024), the choice of sources FreeTimeGS's.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from common.text.wording import counted
from experts.base import DivergedError
from experts.training.gaussians.density import Rows
from experts.training.gaussians.population import Population
from experts.training.gaussians.relocation import draw_stacks, stacked

Transfer = Literal["mcmc", "copy", "copies_in_time"]

_EARLIER_OR_LATER = 0.5  # widths by which a copy in time leaves its source's moment
_SHORTER = 0.75  # width of a copy in time, over its source's


@torch.no_grad()
def relocate(
    population: Population,
    *,
    gradients: Tensor,
    generator: torch.Generator,
    kind: Transfer = "mcmc",
    dead_below: float = 0.005,
    most_share: float = 0.05,
    also_dead: Tensor | None = None,
    shown: Tensor | None = None,
    motion_shares: Tensor | None = None,
    width_limit: float | None = None,
) -> int:
    """Turns dead Gaussians into copies of living ones; gives the number of those that it moved.

    Dead are rows whose opacity, without their lifespan, is at most `dead_below`, and those of the mask also_dead [n].
    At most a share `most_share` of all is moved at a time, the faintest first. gradients [n]: mean lengths of the
    screen-space gradient, which with opacities say what is copied. shown [n] bool: only these are copied, where any
    is. generator: of the CPU; the same one gives the same result on every device.

    kind: "mcmc" makes source and copies fainter and smaller, so that together they look as the source did; "copy"
    copies all; "copies_in_time" is "mcmc" whose copies live half a width earlier or later, at 3/4 of the width, on
    the source's line. It needs the model's: motion_shares [n], of a velocity at which a mean moves (1 - gate; None: 1),
    and width_limit in frames. Moments of moved rows and of their sources become zero. Raises DivergedError where all
    Gaussians are dead.
    """
    opacities = population["opacity_logits"].detach().cpu().double().sigmoid()
    dead = opacities <= dead_below
    if also_dead is not None:
        dead |= also_dead.cpu()
    if bool(dead.all()):
        raise DivergedError(
            f"FreeTime: all {counted(len(dead), 'Gaussian')} are dead (opacity at most {dead_below:g}, or never "
            "shown), so none can be copied; lower the opacity's learning rate or the 4D regulariser"
        )
    moved = _faintest(dead, opacities, math.ceil(most_share * len(dead)))
    if len(moved) == 0:
        return 0
    candidates = ~dead if shown is None else ~dead & shown.cpu()
    living = (candidates if bool(candidates.any()) else ~dead).nonzero().squeeze(1)
    scores = _scores(opacities[living], gradients.detach().cpu().double()[living])
    stacks = draw_stacks(opacities, living, scores, len(moved), generator)
    sources, origins = stacks.sources, stacks.origins
    rows = population.rows(origins.to(population.device))
    if kind != "copy":
        rows = stacked(rows, stacks.opacities, stacks.factors)
    if kind == "copies_in_time":
        shares = None if motion_shares is None else motion_shares.detach()[origins.to(motion_shares.device)]
        _spread_in_time(rows, len(sources), shares, width_limit, generator)
    population.overwrite(torch.cat([sources, moved]).to(population.device), rows)
    return len(moved)


def _faintest(dead: Tensor, opacities: Tensor, room: int) -> Tensor:
    """Indices of at most `room` of the dead rows, rising."""
    rows = dead.nonzero().squeeze(1)
    return rows[opacities[rows].argsort(stable=True)[:room]].sort().values


def _scores(opacities: Tensor, gradients: Tensor) -> Tensor:
    """How often each of the living is to be copied, relative to the others: FreeTimeGS++'s sum of two shares."""
    scores = opacities / opacities.sum() + gradients / gradients.sum()
    return scores if bool(scores.isfinite().all()) else torch.ones_like(opacities)


def _spread_in_time(
    rows: Rows, first: int, shares: Tensor | None, width_limit: float | None, generator: torch.Generator
) -> None:
    """Moves the rows from `first` on half a width earlier or later and makes their lives shorter."""
    raw = rows["widths"][first:]
    widths = raw.exp() if width_limit is None else width_limit * raw.sigmoid()
    signs = 2 * torch.randint(2, raw.shape, generator=generator).to(widths) - 1
    offsets = _EARLIER_OR_LATER * signs * widths
    moving = offsets if shares is None else offsets * shares[first:]
    shorter = _SHORTER * widths
    rows["times"][first:] += offsets
    rows["means"][first:] += moving[:, None] * rows["velocities"][first:]
    rows["widths"][first:] = shorter.log() if width_limit is None else (shorter / width_limit).logit()
