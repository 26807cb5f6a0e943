"""An E-D3DGS of random numbers, which costs what a trained one does."""

from __future__ import annotations

import torch
from moegs_rasterizer import Gaussians

from experts.canonical.gaussians import CanonicalGaussians
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.recipe import N3V_OPTIONS
from experts.ed3dgs.start import EMBEDDING_WIDTH, new_deformation
from experts.random_models import NUM_FRAMES, raw_tensors


def random_ed3dgs(gaussians: Gaussians) -> ED3DGS:
    """N3V's networks, whose initial weights move Gaussians little."""
    return ED3DGS(
        gaussians=CanonicalGaussians(**raw_tensors(gaussians)),
        embeddings=torch.randn(gaussians.count, EMBEDDING_WIDTH),
        deformation=new_deformation(N3V_OPTIONS),
        num_frames=NUM_FRAMES,
        iteration=N3V_OPTIONS.finished,
    )
