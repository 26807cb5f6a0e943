"""STG's Gaussians at a time by one kernel, written by hand (csrc/cuda/motion.cu), without gradients."""

from __future__ import annotations

from dataclasses import fields

import torch
from moegs_rasterizer.image_kernels import kernels, stream_of
from torch import Tensor

from experts.base import MAX_LOG_WIDTH
from experts.stg.motion import Moved, Moving


def has_motion_kernel(given: Moving) -> bool:
    """Tell whether `moved_by_kernel` can move these: float32 on one GPU, and no gradient is recorded."""
    means, tensors = given.means, _tensors(given)
    if torch.is_grad_enabled() and any(one.requires_grad for one in tensors):
        return False
    if not all(one.is_contiguous() and one.dtype == means.dtype and one.device == means.device for one in tensors):
        return False
    return kernels(means) is not None


def moved_by_kernel(given: Moving, time: float) -> Moved:
    """`plain_moved(given, time)`, up to rounding."""
    means, quats, opacities = kernels(given.means).moved(_tensors(given), time, MAX_LOG_WIDTH, stream_of(given.means))
    return Moved(means=means, quats=quats, opacities=opacities)


def _tensors(given: Moving) -> list[Tensor]:
    return [getattr(given, field.name) for field in fields(given)]
