"""A small 4DGaussians from tracked points: planes and network that follow the tracks, then optimised on images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fourdgaussians import FourDGaussians
from ..fourdgaussians_deformation import FourDGaussiansDeformation, FourDGaussiansOptions, NetworkShape, initialise
from .loop import Rates
from .points import TrackedPoints, canonical_gaussians, canonical_positions, draw, take
from .tracks import TRACKED, follow_tracks

FOURDGAUSSIANS_TRACK_RATES: Rates = {
    "deformation.deformation_net.grid": (2e-2, 5e-3),
    "deformation.deformation_net.feature_out": (4e-3, 1e-3),
    "deformation.deformation_net.pos_deform": (4e-3, 1e-3),
    "deformation.deformation_net.opacity_deform": (4e-3, 1e-3),
}

FOURDGAUSSIANS_RATES: Rates = {
    "gaussians.means": (1.2e-3, 1.2e-4),
    "gaussians.log_scales": (2e-2, 4e-3),
    "gaussians.quats": (1e-2, 2e-3),
    "gaussians.opacity_logits": (5e-2, 1e-2),
    "gaussians.sh_dc": (1e-2, 2e-3),
    "deformation.deformation_net.grid": (4e-3, 4e-4),
    "deformation.deformation_net": (1e-3, 1e-4),
}

# Time planes span -1 ... 1 and frames 0 ... 1: half of the 40 rows serve the clip.
SMALL = NetworkShape(width=32, channels=8, resolutions=((24, 24, 24, 40), (48, 48, 48, 40)))


def initial_fourdgaussians(
    points: TrackedPoints,
    *,
    opacity: float = 0.7,
    shape: NetworkShape = SMALL,
    track_iterations: int = 600,
    seed: int = 0,
) -> FourDGaussians:
    """Canonical Gaussians where the points are half-way through the clip, and planes that follow their tracks."""
    torch.manual_seed(seed)
    deformation = FourDGaussiansDeformation(FourDGaussiansOptions(), shape)
    initialise(deformation)
    positions = canonical_positions(points)
    deformation.deformation_net.grid.aabb = torch.stack([positions.amax(0), positions.amin(0)])

    def model(rows: Tensor) -> FourDGaussians:
        gaussians = canonical_gaussians(take(points, rows), opacity)
        return FourDGaussians(gaussians=gaussians, deformation=deformation, num_frames=points.num_frames)

    few = draw(points, **TRACKED, seed=seed)
    follow_tracks(model(few), FOURDGAUSSIANS_TRACK_RATES, take(points, few), iterations=track_iterations, seed=seed)
    return model(torch.arange(points.count))
