"""A small E-D3DGS from tracked points: embeddings that tell bodies apart, a network that follows the tracks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..ed3dgs import ED3DGS
from ..ed3dgs_deformation import ED3DGSDeformation, ED3DGSOptions
from .loop import Rates
from .points import TrackedPoints, canonical_gaussians, canonical_positions, draw, take
from .tracks import TRACKED, follow_tracks

ED3DGS_TRACK_RATES: Rates = {"deformation": (1e-2, 5e-4)}

ED3DGS_RATES: Rates = {
    "gaussians.means": (1.2e-3, 1.2e-4),
    "gaussians.log_scales": (2e-2, 4e-3),
    "gaussians.quats": (1e-2, 2e-3),
    "gaussians.opacity_logits": (5e-2, 1e-2),
    "gaussians.sh_dc": (1e-2, 2e-3),
    "embeddings": (2e-3, 2e-4),
    "deformation": (1e-3, 1e-4),
}

# One network suffices here: the coarse one, with a row of the temporal table for every second frame.
SMALL = ED3DGSOptions(min_embeddings=15, no_c2f_temporal_embedding=True, use_anneal=False, no_fine_deform=True)
EMBEDDING_WIDTH = 32  # E-D3DGS's
_BODY_CODE = 12  # of them tell bodies apart; then come the place on the body and waves over the still scene


def initial_ed3dgs(
    points: TrackedPoints, *, opacity: float = 0.7, width: int = 32, track_iterations: int = 1200, seed: int = 0
) -> ED3DGS:
    """Canonical Gaussians where the points are half-way through the clip, and a network that follows their tracks.

    width: of the network.
    """
    torch.manual_seed(seed)
    deformation = ED3DGSDeformation(SMALL, width=width, max_embeddings=SMALL.min_embeddings, temporal_width=32)
    nn.init.normal_(deformation.weight, std=0.3)
    embeddings = body_embeddings(points)

    def model(rows: Tensor) -> ED3DGS:
        return ED3DGS(
            gaussians=canonical_gaussians(take(points, rows), opacity),
            embeddings=embeddings[rows],
            deformation=deformation,
            num_frames=points.num_frames,
            iteration=1,  # without annealing and coarse-to-fine, any
        )

    few = draw(points, **TRACKED, seed=seed)
    follow_tracks(model(few), ED3DGS_TRACK_RATES, take(points, few), iterations=track_iterations, seed=seed)
    return model(torch.arange(points.count))


def body_embeddings(points: TrackedPoints) -> Tensor:
    """Embeddings [n, 32]: a random code of the body, the place on it; for still points waves over their positions.

    E-D3DGS starts from zeros and lets densification sort the Gaussians out; with known bodies there is no need to.
    """
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.zeros(points.count, EMBEDDING_WIDTH)
    positions = canonical_positions(points)
    for body in points.bodies.unique().tolist():
        rows = points.bodies == body
        local = positions[rows] - positions[rows].mean(dim=0)
        local = local / local.norm(dim=1).max().clamp(min=1e-6)
        if body < 0:
            waves = [torch.sin(local @ (math.pi * k * torch.eye(3)) + p) for k in (1, 2, 4) for p in (0.0, math.pi / 2)]
            embeddings[rows, _BODY_CODE:] = 0.5 * torch.cat([local, *waves], dim=1)[:, : EMBEDDING_WIDTH - _BODY_CODE]
        else:
            embeddings[rows, :_BODY_CODE] = torch.randn(_BODY_CODE, generator=generator)
            embeddings[rows, _BODY_CODE : _BODY_CODE + 3] = local
    return embeddings
