"""Splats of random numbers, as costly as those of a file."""

from __future__ import annotations

import torch
from moegs_rasterizer import Gaussians

from experts.canonical.gaussians import CanonicalGaussians
from experts.random_models import MOTION_SCALE, NUM_FRAMES, raw_tensors
from experts.splats.model import Splats


def random_splats(gaussians: Gaussians) -> Splats:
    """Splats that all frames show; every second one fades a little."""
    count = gaussians.count
    windows = torch.tensor([-0.5, NUM_FRAMES - 0.5]).repeat(count, 1)
    return Splats(
        gaussians=CanonicalGaussians(**raw_tensors(gaussians)),
        times=(NUM_FRAMES - 1) * torch.rand(count),
        widths=torch.where(torch.arange(count) % 2 == 0, torch.inf, 2.0 * NUM_FRAMES),
        velocities=MOTION_SCALE / NUM_FRAMES * torch.randn(count, 3),
        windows=windows,
        num_frames=NUM_FRAMES,
    )
