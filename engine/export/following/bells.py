"""The course of opacities over time: which of them a bell describes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experts.base import Expert

SEEN = 1 / 255  # the opacity below which the rasterizer shows nothing
GOOD_FIT = 0.05  # relative error of an opacity, root mean square, up to which a bell describes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Bells:
    """The moments and widths of Gaussians' opacities in frames [n]; the width is inf where no bell describes one."""

    times: Tensor
    widths: Tensor


@torch.no_grad()
def opacity_bells(expert: Expert, num_frames: int) -> Bells:
    """The bell a exp(-((t - time) / width)^2 / 2) of each row, by least squares of its logarithm, a quadratic in t.

    Squared opacities are the weights: faint frames count little.
    """
    count = expert.num_gaussians
    sums: list[Tensor] = []
    for number in range(num_frames):
        opacities = expert.at(number).opacities.double()
        weights = torch.where(opacities >= SEEN, opacities, 0).square()
        logs, t = opacities.clamp(min=SEEN).log(), number / num_frames
        terms = [*(weights * t**power for power in range(5)), *(weights * logs * t**power for power in range(3))]
        stacked = torch.stack([*terms, weights * logs.square()], dim=1)
        sums = sums or [stacked.new_zeros(count, stacked.shape[1])]
        sums[0][expert.rows(number)] += stacked
    return _solved(sums[0], num_frames)


def _solved(sums: Tensor, num_frames: int) -> Bells:
    """The bells of sums [n, 9] over frames: weight x t^0 … t^4, weight x log x t^0 … t^2, weight x log^2."""
    weight = sums[:, :1].clamp(min=1e-12)
    moments, values, squares = sums[:, :5] / weight, sums[:, 5:8] / weight, sums[:, 8] / weight[:, 0]
    normal = torch.stack([moments[:, :3], moments[:, 1:4], moments[:, 2:5]], dim=1)
    normal = normal + 1e-9 * torch.eye(3, dtype=normal.dtype, device=normal.device)
    found = torch.linalg.solve(normal, values)
    rest = (squares - (found * values).sum(dim=1)).clamp(min=0).sqrt()
    curve = found[:, 2].clamp(max=-1e-9)
    times, widths = -found[:, 1] / (2 * curve), (-0.5 / curve).sqrt()
    peak = found[:, 0] + found[:, 1] * times / 2
    good = (found[:, 2] < 0) & (rest < GOOD_FIT) & (widths < 3) & (peak < 0.02) & (times > -1) & (times < 2)
    return Bells(
        times=torch.where(good, num_frames * times, 0).float(),
        widths=torch.where(good, num_frames * widths, torch.inf).float(),
    )
