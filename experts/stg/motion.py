"""STG's Gaussians at a time: a cubic for the mean, a line for the quaternion, a window for the opacity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.maths.vectors import unit
from experts.base import MAX_LOG_WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """The motion and windows that a segment learns of its Gaussians; windows are centred where the motion starts."""

    means: Tensor  # [n, 3]
    motion: Tensor  # [n, 9] coefficients of time, its square and its cube, xyz each
    quats: Tensor  # [n, 4]
    omegas: Tensor  # [n, 4] change of the quaternion per unit of time
    opacity_logits: Tensor  # [n]
    window_centres: Tensor  # [n] in segment time
    log_widths: Tensor  # [n]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The Gaussians at a time."""

    means: Tensor  # [n, 3]
    quats: Tensor  # [n, 4] of length 1, or zero
    opacities: Tensor  # [n]


def plain_moved(given: Moving, time: float) -> Moved:
    """Gaussians at a segment's time (STG eqs. 7-9; opacity without the factor 1/2, as in its code).

    The window's centre gets gradient through the opacity alone.
    """
    offset = (time - given.window_centres).unsqueeze(1)
    narrowness = given.log_widths.clamp(-MAX_LOG_WIDTH, MAX_LOG_WIDTH).neg().exp()
    window = (offset.squeeze(1) * narrowness).square().neg().exp()
    offset = offset.detach()
    linear, square, cubic = given.motion.split(3, dim=1)
    slope = torch.addcmul(linear, offset, torch.addcmul(square, offset, cubic))
    return Moved(
        means=torch.addcmul(given.means, offset, slope),
        quats=unit(torch.addcmul(given.quats, offset, given.omegas)),
        opacities=window * given.opacity_logits.sigmoid(),
    )
