"""A small STG (SH variant) from tracked points: polynomials through stretches of the tracks, then optimised."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..harmonics import split_sh
from ..initial import identity_quats, logits, sh_from_colours
from ..stg import STG, STGSegment
from .loop import Rates
from .points import TrackedPoints, body_log_scales, take

STG_RATES: Rates = {
    "segments.0.means": (1.2e-3, 1.2e-4),
    "segments.0.motion": (4e-3, 4e-4),
    "segments.0.log_scales": (2e-2, 4e-3),
    "segments.0.quats": (1e-2, 2e-3),
    "segments.0.omegas": (1e-2, 1e-3),
    "segments.0.opacity_logits": (5e-2, 1e-2),
    "segments.0.trbf_centres": (5e-4, 1e-4),
    "segments.0.trbf_log_widths": (1e-2, 1e-3),
    "segments.0.sh": (1e-2, 2e-3),
}

WIDE = math.log(4.0)  # of the clip: what never moves is there all the time


def initial_stg(
    points: TrackedPoints,
    *,
    near: float,
    far: float,
    stretch: int = 5,
    moving: int = 350,
    opacity: float = 0.7,
    seed: int = 0,
) -> STG:
    """One segment for the whole clip: still points for all of it, and per stretch of frames at most `moving` others.

    stretch: frames between the centres of neighbouring temporal windows.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [_still(take(points, points.bodies < 0), opacity)]
    for centre in range(stretch // 2, points.num_frames, stretch):
        rows = ((points.bodies >= 0) & points.present[:, centre]).nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=generator)[:moving]]
        parts.append(_moving(take(points, rows), centre, stretch, opacity))
    raw = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    segment = STGSegment(first=0, num_frames=points.num_frames, **raw)  # type: ignore[arg-type]
    return STG(segments=[segment], near=near, far=far)


def _still(points: TrackedPoints, opacity: float) -> dict[str, Tensor]:
    return {
        **_appearance(points, opacity),
        "means": points.tracks[:, 0],
        "motion": torch.zeros(points.count, 9),
        "log_scales": body_log_scales(points, 0),
        "trbf_centres": torch.full((points.count,), 0.5),
        "trbf_log_widths": torch.full((points.count,), WIDE),
    }


def _moving(points: TrackedPoints, centre: int, stretch: int, opacity: float) -> dict[str, Tensor]:
    coefficients = polynomials(points.tracks, centre, reach=stretch)
    return {
        **_appearance(points, opacity),
        "means": coefficients[:, 0],
        "motion": coefficients[:, 1:].flatten(1),
        "log_scales": body_log_scales(points, centre),
        "trbf_centres": torch.full((points.count,), centre / points.num_frames),
        "trbf_log_widths": torch.full((points.count,), math.log(0.75 * stretch / points.num_frames)),
    }


def _appearance(points: TrackedPoints, opacity: float) -> dict[str, Tensor]:
    sh = split_sh(sh_from_colours(points.colours))
    return {
        "quats": identity_quats(points.count),
        "omegas": torch.zeros(points.count, 4),
        "opacity_logits": logits(points.count, opacity),
        "sh_dc": sh["sh_dc"],
        "sh_rest": sh["sh_rest"],
    }


def polynomials(tracks: Tensor, centre: int, *, reach: int) -> Tensor:
    """Cubics [n, 4, 3] in segment time since `centre` that fit the tracks [n, num_frames, 3] within `reach` frames."""
    num_frames = tracks.shape[1]
    frames = torch.arange(max(0, centre - reach), min(num_frames, centre + reach + 1))
    offsets = (frames - centre).double() / num_frames
    powers = torch.stack([offsets**k for k in range(4)], dim=1)
    return torch.einsum("kf,nfc->nkc", torch.linalg.pinv(powers), tracks[:, frames].double()).float()
