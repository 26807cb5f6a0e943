"""A 4DGaussians of random numbers, which costs what a trained one does."""

from __future__ import annotations

from moegs_rasterizer import Gaussians

from experts.canonical.gaussians import CanonicalGaussians
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.recipe import FourDGaussiansOptions, NetworkShape
from experts.fourdgaussians.start import new_deformation
from experts.random_models import NUM_FRAMES, raw_tensors


def random_fourdgaussians(gaussians: Gaussians) -> FourDGaussians:
    """N3V's network, whose initial weights move Gaussians little."""
    return FourDGaussians(
        gaussians=CanonicalGaussians(**raw_tensors(gaussians)),
        deformation=new_deformation(gaussians.means, FourDGaussiansOptions(), NetworkShape()),
        num_frames=NUM_FRAMES,
    )
