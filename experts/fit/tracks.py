"""Teaches a deformation network to follow known tracks before any picture is rendered."""

from __future__ import annotations

import torch

from ..base import Expert
from .loop import Rates, adam, set_rates
from .points import TrackedPoints

TRACKED = {"still": 300, "moving": 900}  # points that are enough to teach a network


def follow_tracks(
    expert: Expert, rates: Rates, points: TrackedPoints, *, iterations: int, seed: int = 0
) -> list[float]:
    """Optimise the named parameters so that Gaussian i moves as point i does and vanishes where the point is absent.

    The expert must have one Gaussian a point, in the same order. Returns the loss of every iteration: mean
    distance in units of the points' spread, plus squared error of the opacity.
    """
    optimiser = adam(expert, rates)
    generator = torch.Generator().manual_seed(seed)
    spread = points.tracks.std(dim=0).mean()
    with torch.no_grad():
        opacities = expert.at(points.num_frames // 2).opacities.median()
    losses = []
    for iteration in range(iterations):
        set_rates(optimiser, iteration / max(1, iterations - 1))
        frame = int(torch.randint(points.num_frames, (1,), generator=generator))
        gaussians, present = expert.at(frame), points.present[:, frame].float()
        distance = (gaussians.means - points.tracks[:, frame]).norm(dim=1) / spread
        loss = (distance * present).mean() + (gaussians.opacities - opacities * present).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
