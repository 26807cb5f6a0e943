"""Spherical harmonics of a page: bytes of each Gaussian, or the nearest of a palette's entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experts.splats.sh_bytes import BANDS, UNIT, harmonic_bytes, matching_constants

ROUNDS = 6  # of k-means
DRAWN = 40  # coefficients of an entry that k-means learns from, at most
CHUNK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedHarmonics:
    """Entries, and of each splat its entry and the constant that belongs to it."""

    degree: int
    codes: np.ndarray  # [entries, 3 x coefficients] as in `HarmonicBytes`
    index: Tensor  # [n]
    dc: Tensor  # [n, 3]


def coded_harmonics(
    sh: Tensor,
    means: Tensor,
    fresh: Tensor,
    cameras: Sequence[Tensor],
    *,
    steps: tuple[int, int, int],
    entries: int | None,
    least: int = 0,
) -> CodedHarmonics:
    """The harmonics of splats in chains: coefficients [n, 16, 3] at means [n, 3].

    fresh: mask [n] of those whose degrees from 1 on are not those of the splat before. entries: of a palette for all
    of them; None: each has its own bytes. cameras, steps, least: as `harmonic_bytes` takes them.
    """
    known, at = sh[fresh], means[fresh]
    coded = harmonic_bytes(known, at, cameras=cameras, steps=steps, least=least)
    codes, index, dc = coded.codes, torch.arange(len(known), device=sh.device), coded.dc
    if entries is not None and coded.degree and len(known) > entries:
        last = BANDS[coded.degree - 1][1]
        centres, index = _palette(known[:, 1:last].transpose(1, 2).flatten(1), entries)
        codes = (centres / UNIT + 127.5).round().clamp(0, 255).to(torch.uint8)
        dc = matching_constants(known, codes, index, at, cameras=cameras)
    number = fresh.cumsum(0) - 1
    shifts = dc - known[:, 0]
    return CodedHarmonics(
        degree=coded.degree, codes=codes.cpu().numpy(), index=index[number], dc=sh[:, 0] + shifts[number]
    )


def _palette(values: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Entries of values [n, k] by k-means, and the nearest one of each [n]."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(len(values), generator=generator)[: DRAWN * entries].to(values.device)
    chosen = values[drawn]
    centres = chosen[:entries].clone()
    for _ in range(ROUNDS):
        index = _nearest(chosen, centres)
        sums = torch.zeros_like(centres).index_add_(0, index, chosen)
        counts = torch.bincount(index, minlength=entries)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres, _nearest(values, centres)


def _nearest(values: Tensor, centres: Tensor) -> Tensor:
    squares = centres.square().sum(dim=1)
    return torch.cat([(squares - 2 * part @ centres.T).argmin(dim=1) for part in values.split(CHUNK)])
