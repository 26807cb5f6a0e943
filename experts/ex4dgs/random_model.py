"""An Ex4DGS of random numbers, which costs what a trained one does."""

from __future__ import annotations

import math

import torch
from moegs_rasterizer import Gaussians

from experts.ex4dgs.model import DynamicGaussians, Ex4DGS, StaticGaussians
from experts.ex4dgs.motion import KeyframeTimeline
from experts.random_models import MOTION_SCALE, NUM_FRAMES, raw_tensors

NEAR, FAR = 4.0, 300.0  # of Ex4DGS's N3V settings
KEYFRAMES = 36  # of Ex4DGS's N3V models
DYNAMIC_SHARE = 0.1  # of all Gaussians: a choice, the paper's models differ


def random_ex4dgs(gaussians: Gaussians) -> Ex4DGS:
    """Static Gaussians that drift, and a share of dynamic ones that tremble and are there all the time."""
    raw, moving = raw_tensors(gaussians), math.ceil(gaussians.count * DYNAMIC_SHARE)
    keyframed = {
        "means": raw["means"][:moving, None] + MOTION_SCALE * torch.randn(moving, KEYFRAMES, 3),
        "quats": raw["quats"][:moving, None] + MOTION_SCALE * torch.randn(moving, KEYFRAMES, 4),
    }
    return Ex4DGS(
        static=StaticGaussians(
            means=raw["means"][moving:].clone(),
            displacements=MOTION_SCALE * torch.randn(gaussians.count - moving, 3),
            log_scales=raw["log_scales"][moving:].clone(),
            quats=raw["quats"][moving:].clone(),
            opacity_logits=raw["opacity_logits"][moving:].clone(),
            sh_dc=raw["sh_dc"][moving:].clone(),
            sh_rest=raw["sh_rest"][moving:].clone(),
        ),
        dynamic=DynamicGaussians(
            **keyframed,
            log_scales=raw["log_scales"][:moving].clone(),
            opacity_logits=raw["opacity_logits"][:moving].clone(),
            opacity_centres=torch.tensor([1.0, KEYFRAMES - 2.0]).repeat(moving, 1),
            opacity_log_widths=torch.zeros(moving, 2),
            sh_dc=raw["sh_dc"][:moving].clone(),
            sh_rest=raw["sh_rest"][:moving].clone(),
        ),
        timeline=KeyframeTimeline(duration=NUM_FRAMES),
        near=NEAR,
        far=FAR,
    )
