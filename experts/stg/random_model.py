"""An STG of random numbers, which costs what a trained one does."""

from __future__ import annotations

import torch
from moegs_rasterizer import Gaussians

from experts.random_models import MOTION_SCALE, NUM_FRAMES, raw_tensors
from experts.stg.model import STG, STGSegment


def random_stg(gaussians: Gaussians) -> STG:
    """The lite variant around Gaussians; windows as wide as the clip, which is how they start on N3V."""
    raw, count = raw_tensors(gaussians), gaussians.count
    segment = STGSegment(
        first=0,
        num_frames=NUM_FRAMES,
        means=raw["means"],
        motion=MOTION_SCALE * torch.randn(count, 9),
        quats=raw["quats"],
        omegas=MOTION_SCALE * torch.randn(count, 4),
        log_scales=raw["log_scales"],
        opacity_logits=raw["opacity_logits"],
        trbf_centres=torch.rand(count),
        trbf_log_widths=torch.zeros(count),
        features=torch.rand(count, 3),
    )
    return STG(segments=[segment])
