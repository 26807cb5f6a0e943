"""Spherical harmonics in the bytes of a `.4dgs` file, rounded so that colours are right where the cameras stand.

A byte b is the coefficient (b - 127.5) / 255 x 8. None is 0: rounded one by one, all coefficients of 0 would have the
same error, and tint whole surfaces. So the roundings of a splat are chosen together: each one makes up, as seen from
the cameras, for what those before it changed, and the constant makes up for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from moegs_rasterizer.reference.sh import C0, C1, sh_basis
from torch import Tensor

UNIT = 8 / 255  # of a byte
MOST_CAMERAS = 12
CHUNK = 50_000  # splats at a time: their errors at all cameras are held in memory
BANDS = ((1, 4), (4, 9), (9, 16))  # coefficients of degree 1, 2 and 3
FLAT = 1e-6  # coefficients up to which a degree is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmonicBytes:
    """Bytes of the degrees that a model has, and the constants that belong to them."""

    degree: int  # 0: there are no bytes
    codes: Tensor  # [n, 3 x coefficients] uint8, channel by channel
    dc: Tensor  # [n, 3] coefficients of degree 0


def harmonic_bytes(
    sh: Tensor, means: Tensor, *, cameras: Sequence[Tensor], steps: tuple[int, int, int], least: int = 0
) -> HarmonicBytes:
    """The bytes of coefficients [n, 16, 3] of splats at means [n, 3].

    cameras: centres [3]. steps: between the bytes that are used, for degree 1, 2 and 3: larger steps, smaller files.
    least: the degree to give bytes for, even if all its coefficients are 0.
    """
    centres = _chosen(cameras, means)
    sh = _within_range(sh, means, centres)
    large = [index + 1 for index, (start, end) in enumerate(BANDS) if sh[:, start:end].abs().amax() > FLAT]
    degree = max([least, *large])
    if degree == 0:
        return HarmonicBytes(degree=0, codes=sh.new_zeros(len(sh), 0, dtype=torch.uint8), dc=sh[:, 0])
    parts = [
        _rounded(sh[start : start + CHUNK], means[start : start + CHUNK], centres, steps[:degree])
        for start in range(0, len(sh), CHUNK)
    ]
    return HarmonicBytes(
        degree=degree, codes=torch.cat([codes for codes, _ in parts]), dc=torch.cat([dc for _, dc in parts])
    )


def matching_constants(sh: Tensor, codes: Tensor, index: Tensor, means: Tensor, *, cameras: Sequence[Tensor]) -> Tensor:
    """The constants [n, 3] with which bytes give the colours of coefficients [n, 16, 3], on average over the cameras.

    codes: [entries, 3 x coefficients] bytes. index: [n] the entry of each. means: [n, 3]. cameras: centres [3].
    """
    centres, found = _chosen(cameras, means), []
    for each in torch.arange(len(sh), device=sh.device).split(CHUNK):
        directions = torch.nn.functional.normalize(means[each, None] - centres, dim=2)
        basis = sh_basis(directions.flatten(0, 1), 16).view(len(each), len(centres), 16).mean(dim=1)
        rest = ((codes[index[each]] - 127.5) * UNIT).unflatten(1, (3, -1)).transpose(1, 2)
        change = sh[each, 1 : 1 + rest.shape[1]] - rest
        found.append(sh[each, 0] + (basis[:, 1 : 1 + rest.shape[1], None] * change).sum(dim=1) / basis[:, :1])
    return torch.cat(found)


def _chosen(cameras: Sequence[Tensor], means: Tensor) -> Tensor:
    """The centres of at most MOST_CAMERAS [c, 3], evenly taken; one beside the means where there is none."""
    chosen = cameras[:: max(1, len(cameras) // MOST_CAMERAS)][:MOST_CAMERAS] or [means.mean(dim=0) - 1]
    return torch.stack([centre.to(means) for centre in chosen])


def _within_range(sh: Tensor, means: Tensor, centres: Tensor) -> Tensor:
    """Coefficients whose constant gives no colour above 1: the format cuts it off there.

    What is above 1 goes to degree 1, as a slope towards the mean of the cameras, which see the same colour on average.
    A constant below 0 is cut off, too. Without other coefficients that is no loss: nothing is darker than 0.
    """
    highest = 0.5 / C0
    excess = (sh[:, 0] - highest).clamp(min=0)
    if not excess.any():
        return sh
    towards = torch.nn.functional.normalize(means[:, None] - centres, dim=2).mean(dim=1)
    x, y, z = (towards / towards.square().sum(dim=1, keepdim=True).clamp(min=0.01)).unbind(1)
    slope = torch.stack([-y, z, -x], dim=1) * (C0 / C1)  # the order and signs of the harmonics of degree 1
    changed = sh.clone()
    changed[:, 0] -= excess
    changed[:, 1:4] += slope[:, :, None] * excess[:, None]
    return changed


def _rounded(sh: Tensor, means: Tensor, centres: Tensor, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Bytes [n, 3 x coefficients] and constants [n, 3]."""
    last = BANDS[len(steps) - 1][1]
    directions = torch.nn.functional.normalize(means[:, None] - centres, dim=2)
    basis = sh_basis(directions.flatten(0, 1), 16).view(len(sh), len(centres), 16)
    wanted = sh[:, :last] / UNIT
    errors = sh.new_zeros(len(sh), len(centres), 3)
    found = torch.empty_like(wanted)
    for step, (start, end) in zip(steps, BANDS, strict=False):
        for index in range(start, end):
            value = wanted[:, index]
            lower, upper = _neighbours(value, step)
            seen = basis[:, :, index, None]
            after = [errors + seen * (each - value)[:, None] for each in (lower, upper)]
            low = after[0].square().sum(dim=1) <= after[1].square().sum(dim=1)
            found[:, index] = torch.where(low, lower, upper)
            errors = torch.where(low[:, None], after[0], after[1])
    dc = sh[:, 0] - UNIT * errors.mean(dim=1) / basis[0, 0, 0]
    codes = (found[:, 1:] + 127.5).round().clamp(0, 255).transpose(1, 2).flatten(1)
    return codes.to(torch.uint8), dc


def _neighbours(values: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """The allowed values below and above: those of half a unit and of `step` units more, of either sign."""
    away = ((values.abs() - 0.5) / step).floor() * step + 0.5
    inner = values.abs() < 0.5
    small = torch.where(inner, -0.5, away)
    great = torch.where(inner, 0.5, away + step)
    positive = values >= 0
    return torch.where(positive, small, -great), torch.where(positive, great, -small)
