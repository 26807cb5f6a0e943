"""Ex4DGS's motion in time: keyframes interpolated, opacity windows (formulas of the Ex4DGS paper and its code)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from common.maths.vectors import unit
from experts.base import MAX_LOG_WIDTH

Interpolation = Literal["cube", "pchip", "linear"]
INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)

_EPS = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeTimeline:
    """Positions of Ex4DGS's keyframes in time: keyframe k lies at frame k * interval - shift."""

    duration: float = 300  # frames over which a static Gaussian moves by its displacement
    interval: float = 10  # frames between keyframes
    pad: float = 2  # frames before frame 0 that belong to the first interpolated interval
    var_pad: float = 3  # frames added to the opacity windows' widths, over 2.36
    interpolation: Interpolation = "cube"

    @property
    def shift(self) -> float:
        """Frame 0's distance from keyframe 0; the cubic kinds need one more keyframe before it."""
        return self.pad if self.interpolation == "linear" else self.pad + self.interval

    def position(self, frame: float) -> float:
        """A frame in units of keyframes."""
        return (frame + self.shift) / self.interval

    def frames(self, keyframes: int) -> tuple[float, float]:
        """First frame (included) and last frame (excluded) that have all the keyframes their interpolation reads."""
        margin = 0 if self.interpolation == "linear" else 1
        first, last = margin, keyframes - 1 - margin
        return first * self.interval - self.shift, last * self.interval - self.shift


def interpolate(keyframes: Tensor, position: float, kind: Interpolation) -> Tensor:
    """Values [n, c] at a position (units of keyframes) between keyframes [n, k, c].

    cube: cubic Hermite with central differences (Catmull-Rom); pchip: Hermite with monotone tangents; linear.
    The position must leave the neighbours it reads on both sides (KeyframeTimeline.frames).
    """
    index = math.floor(position)
    delta = position - index
    start, end = keyframes[:, index], keyframes[:, index + 1]
    if kind == "linear":
        return start + (end - start) * delta
    before, after = keyframes[:, index - 1], keyframes[:, index + 2]
    square, cube = delta**2, delta**3
    at_start, at_end = 2 * cube - 3 * square + 1, -2 * cube + 3 * square
    leaving, arriving = cube - 2 * square + delta, cube - square
    if kind == "cube":  # tangents (end - before) / 2 and (after - start) / 2
        weighted = ((end, at_end + leaving / 2), (before, -leaving / 2), (after, arriving / 2))
        total = start * (at_start - arriving / 2)
    else:
        weighted = ((_monotone(before, start, end), leaving), (end, at_end), (_monotone(start, end, after), arriving))
        total = start * at_start
    for value, weight in weighted:
        total = total.add_(value, alpha=weight)
    return total


def _monotone(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
    rise, next_rise = at - before, after - at
    agree = rise * next_rise > 0
    slope = 2 * rise * next_rise / torch.where(agree, after - before, torch.ones_like(at))
    return torch.where(agree, slope, torch.zeros_like(at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arcs:
    """The arcs from each of k quaternions to the next, of n Gaussians."""

    ends: Tensor  # [k, n, 4], unit
    angles: Tensor  # [k - 1, n, 1]
    sines: Tensor  # [k - 1, n, 1]


def arcs(quats: Tensor) -> Arcs:
    """Arcs between quaternions [k, n, 4] of any length, as Ex4DGS takes them: no sign flip, an arc may be long."""
    ends = unit(quats)
    cosines = (ends[:-1] * ends[1:]).sum(-1, keepdim=True).clamp(-1 + _EPS, 1 - _EPS)
    angles = cosines.acos().clamp(min=_EPS)
    return Arcs(ends=ends, angles=angles, sines=angles.sin().clamp(min=_EPS))


def along(way: Arcs, index: int, delta: float) -> Tensor:
    """Unit quaternions [n, 4] on arc number `index`, blended as Ex4DGS does; delta 0 ... 1 from end to end."""
    first, second = way.ends[index], way.ends[index + 1]
    angle, sine = way.angles[index], way.sines[index]
    first_weight, second_weight = ((1 - delta) * angle).sin() / sine, (delta * angle).sin() / sine
    total = (first_weight + second_weight).clamp(min=_EPS)
    blended = torch.addcmul(first_weight * first, second_weight, second) / total
    degenerate = blended.abs().sum(-1, keepdim=True) <= _EPS
    return unit(torch.where(degenerate, first, blended))


def slerp(first: Tensor, second: Tensor, delta: float) -> Tensor:
    """Unit quaternions [n, 4] between two of any length (`arcs`, `along`)."""
    return along(arcs(torch.stack([first, second])), 0, delta)


def opacity_window(centres: Tensor, log_widths: Tensor, position: float, *, smallest: float) -> Tensor:
    """Temporal factor [n] of the opacity at a position; centres and widths [n, 2] in units of keyframes.

    1 strictly between the two centres; outside, exp(-(m / (exp(log_width) + smallest / 2.36))^2), where m is the
    distance to the later centre on both sides and the second width holds after either centre. Log widths are
    initialised in frames and overflow exp: they are capped where the factor is 1, or the window shut, to the last bit.
    """
    offsets = position - centres
    between = offsets[:, 0] * offsets[:, 1] < 0
    after = (offsets > 0).any(dim=1)
    log_width = torch.where(after, log_widths[:, 1], log_widths[:, 0]).clamp(-MAX_LOG_WIDTH, MAX_LOG_WIDTH)
    width = log_width.exp() + smallest / 2.36
    factor = torch.exp(-((offsets.amin(dim=1) / width) ** 2))
    return torch.where(between, torch.ones_like(factor), factor)
