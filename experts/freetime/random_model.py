"""A FreeTime of random numbers, which costs what a trained one does."""

from __future__ import annotations

import torch
from moegs_rasterizer import Gaussians

from experts.canonical.gaussians import CanonicalGaussians
from experts.freetime.model import FreeTime
from experts.freetime.recipe import LifeSettings
from experts.random_models import MOTION_SCALE, NUM_FRAMES, raw_tensors

_LIMIT = 5.0  # frames: what a training at 30 fps has


def random_freetime(gaussians: Gaussians) -> FreeTime:
    """Moments all over the clip and gates of about one half: every Gaussian is seen at every frame."""
    count = gaussians.count
    return FreeTime(
        gaussians=CanonicalGaussians(**raw_tensors(gaussians)),
        times=(NUM_FRAMES - 1) * torch.rand(count),
        widths=torch.randn(count),
        velocities=MOTION_SCALE / NUM_FRAMES * torch.randn(count, 3),
        gates=torch.randn(count),
        settings=LifeSettings(limit=_LIMIT),
        num_frames=NUM_FRAMES,
    )
